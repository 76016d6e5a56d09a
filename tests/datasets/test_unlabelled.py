"""Prompts without labels are read in order, each text once, and what cannot be read is listed."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.datasets import unlabelled
from anisomem.datasets.unlabelled import Options
from anisomem.errors import UserError

ROWS = [("a1", "red cat"), ("b2", "a dog"), ("c3", "red cat"), ("d4", "a bird, blue")]


def written(folder, suffix):
    """The four rows in a file of a kind."""
    file = folder / f"mine{suffix}"
    if suffix == ".parquet":
        ids, texts = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"id": ids, "prompt": texts}), file)
        return file
    records = [{"id": key, "prompt": text} for key, text in ROWS]
    content = {
        ".txt": "".join(f"{text}\n" for _, text in ROWS),
        ".csv": "id,prompt\n" + "".join(f'{key},"{text}"\n' for key, text in ROWS),
        ".tsv": "id\tprompt\n" + "".join(f"{key}\t{text}\n" for key, text in ROWS),
        ".jsonl": "".join(f"{json.dumps(record)}\n" for record in records),
        ".json": json.dumps(records),
    }
    content[".csv.gz"] = content[".csv"]
    encoded = content[suffix].encode()
    file.write_bytes(gzip.compress(encoded) if suffix.endswith(".gz") else encoded)
    return file


@pytest.mark.parametrize(
    "suffix", [".txt", ".csv", ".csv.gz", ".tsv", ".jsonl", ".json", ".parquet"]
)
def test_every_kind_of_file_keeps_order_ids_and_duplicates(tmp_path, suffix):
    listed = unlabelled.load(str(written(tmp_path, suffix)))
    ids = [f"mine-{i}" for i in (1, 2, 3, 4)] if suffix == ".txt" else ["a1", "b2", "c3", "d4"]
    assert listed.name == "mine" and listed.ids == ids and not listed.unread
    assert listed.texts == ["red cat", "a dog", "a bird, blue"]
    np.testing.assert_array_equal(listed.rows, [0, 1, 0, 2])
    np.testing.assert_array_equal(listed.times, [2, 1, 1])


def test_lines_that_cannot_be_read_are_listed_and_numbers_stay(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(b"one\n\nb\xffd\n   \ntwo\0\nlast\n")
    listed = unlabelled.load(str(file))
    assert (listed.ids, listed.texts) == (["mine-1", "mine-6"], ["one", "last"])
    assert [line.removeprefix(str(file)) for line in listed.unread] == [
        ", line 2: empty prompt",
        ", line 3 is not UTF-8 text",
        ", line 4: empty prompt",
        ", line 5: prompt has a NUL character",
    ]


@pytest.mark.parametrize(
    ("name", "content", "unread"),
    [
        ("a.csv", b"prompt,x\none,1\ntwo\nthree,3\n", "line 3: 1 cells, expected 2"),
        ("a.csv", b"prompt,x\none,1\nt\xffo,2\nthree,3\n", "line 3 is not UTF-8 text"),
        ("a.csv", b'prompt,x\none,1\n"two"x,2\nthree,3\n', "line 3: ',' expected after '\"'"),
        ("a.jsonl", b'{"prompt":"one"}\n{oops\n{"prompt":"three"}\n', "line 2: expected a JSON"),
        ("a.jsonl", b'{"prompt":"one"}\n{"x":1}\n{"prompt":"three"}\n', "line 2 lacks prompt"),
        ("a.jsonl", b'{"prompt":"one"}\n{"prompt":3}\n{"prompt":"three"}\n', "expected a text"),
        ("a.jsonl", b'{"prompt":"one"}\n{"prompt":["a"]}\n{"prompt":"three"}\n', "got a list"),
        ("a.jsonl", b'{"prompt":"one"}\n{"prompt":"\\ud800"}\n{"prompt":"three"}\n', "half a"),
        (
            "a.jsonl",
            b'{"prompt":"one"}\n{"prompt":"a","prompt":"b"}\n{"prompt":"three"}\n',
            "several times",
        ),
        ("a.json", b'[{"prompt":"one"},3,{"prompt":"three"}]', "row 2: expected a JSON object"),
    ],
)
def test_a_row_that_cannot_be_read_costs_no_other(tmp_path, name, content, unread):
    (tmp_path / name).write_bytes(content)
    listed = unlabelled.load(str(tmp_path / name))
    assert listed.texts == ["one", "three"]
    assert len(listed.unread) == 1 and unread in listed.unread[0]
    assert listed.ids == ["a-1", "a-3"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.json", '["one", "", "three"]'), ("a.jsonl", '"one"\n""\n"three"\n')]
)
def test_json_may_be_prompts_and_nothing_else(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    listed = unlabelled.load(str(tmp_path / name))
    assert (listed.ids, listed.texts) == (["a-1", "a-3"], ["one", "three"])
    assert len(listed.unread) == 1


def test_a_quote_that_never_closes_is_refused_as_it_hides_unknown_many_rows(tmp_path):
    (tmp_path / "a.csv").write_text('prompt\none\n"two\nthree\nfour\n')
    with pytest.raises(UserError, match="line 3: a quote is opened here"):
        unlabelled.load(str(tmp_path / "a.csv"))


def test_lines_that_end_in_cr_alone_are_not_one_prompt(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\rtwo\rthree\n")
    with pytest.raises(UserError, match="its lines end in CR alone"):
        unlabelled.load(str(tmp_path / "a.txt"))
    (tmp_path / "b.txt").write_bytes(b"one\r\ntwo\r\n")
    assert unlabelled.load(str(tmp_path / "b.txt")).texts == ["one", "two"]


def test_null_cells_of_parquet_are_listed(tmp_path):
    pq.write_table(pa.table({"caption": ["one", None, "three"]}), tmp_path / "a.parquet")
    listed = unlabelled.load(str(tmp_path / "a.parquet"))
    assert listed.texts == ["one", "three"]
    assert listed.unread[0].endswith("row 2: empty prompt")


@pytest.mark.parametrize("heading", ["prompt", "PROMPT", "caption", "Text", "captions"])
def test_prompts_are_found_under_usual_headings(tmp_path, heading):
    (tmp_path / "a.csv").write_text(f"url,{heading}\nx,one\n")
    assert unlabelled.load(str(tmp_path / "a.csv")).texts == ["one"]


def test_prompt_goes_before_other_headings(tmp_path):
    (tmp_path / "a.csv").write_text("text,prompt\nno,one\n")
    assert unlabelled.load(str(tmp_path / "a.csv")).texts == ["one"]


@pytest.mark.parametrize("heading", ["caption,text", "a,b"])
def test_headings_that_leave_it_open_are_refused_with_the_override(tmp_path, heading):
    (tmp_path / "a.csv").write_text(f"{heading}\none,two\n")
    with pytest.raises(UserError, match=r"scan\.columns\.prompt="):
        unlabelled.load(str(tmp_path / "a.csv"))
    second = heading.split(",")[1]
    named = Options({"prompt": second, "id": None})
    assert unlabelled.load(str(tmp_path / "a.csv"), named).texts == ["two"]


def test_a_named_column_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("prompt\none\n")
    with pytest.raises(UserError, match="no column named 'words'; it has prompt"):
        unlabelled.load(str(tmp_path / "a.csv"), Options({"prompt": "words"}))


def test_folders_and_patterns_name_rows_by_file(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"of {name}\nboth\n")
        (tmp_path / f"{name}.png").write_bytes(b"a picture beside its caption")
    for path in (str(tmp_path), str(tmp_path / "*.txt")):
        listed = unlabelled.load(path)
        assert listed.ids == ["a-1", "a-2", "b-1", "b-2"]
        assert listed.texts == ["of a", "both", "of b"]


def test_a_folder_of_several_kinds_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.csv").write_text("prompt\ntwo\n")
    with pytest.raises(UserError, match=r"has files in \.csv and \.txt.*prompts='.*/\*\.csv'"):
        unlabelled.load(str(tmp_path))


def test_ids_may_repeat_and_be_missing(tmp_path):
    (tmp_path / "a.csv").write_text("id,prompt\n7,one\n7,two\n,three\n")
    assert unlabelled.load(str(tmp_path / "a.csv")).ids == ["7", "7", "a-3"]


def test_labels_are_counted_and_not_read(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,label\none,1\ntwo,0\nthree,\nfour,whatever\n")
    listed = unlabelled.load(str(tmp_path / "a.csv"))
    assert listed.texts == ["one", "two", "three", "four"]
    assert (listed.labelled, listed.memorized) == (3, 0)


def test_ordinary_prompts_are_those_not_labelled_memorized(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,label\none,1\ntwo,0\nthree,\nfour,partial\n")
    listed = unlabelled.load(str(tmp_path / "a.csv"), ordinary=True)
    assert listed.texts == ["two", "three"] and listed.memorized == 2
    (tmp_path / "own.csv").write_text("prompt,label\none,memorized\ntwo,other\n")
    assert unlabelled.load(str(tmp_path / "own.csv"), ordinary=True).texts == ["two"]
    (tmp_path / "odd.csv").write_text("prompt,label\none,1\ntwo,whatever\n")
    with pytest.raises(UserError, match=r"no prompts that can be read: .*whatever"):
        unlabelled.load(str(tmp_path / "odd.csv"), ordinary=True)
    (tmp_path / "b.csv").write_text("prompt,label\none,1\n")
    with pytest.raises(UserError, match="all rows are labelled memorized"):
        unlabelled.load(str(tmp_path / "b.csv"), ordinary=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no prompts that can be read"), ("\n \n", "line 1: empty"), ("prompt\n", "a heading")],
)
def test_a_file_without_a_prompt_is_refused(tmp_path, content, said):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        unlabelled.load(str(tmp_path / "a.txt"))


def test_what_is_no_prompt_file_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(UserError, match=r"should end in \.txt, \.csv"):
        unlabelled.load(str(tmp_path / "a.pdf"))
    with pytest.raises(UserError, match="no prompt file"):
        unlabelled.load(str(tmp_path / "b.txt"))


def test_a_file_is_no_hub_dataset(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(UserError, match="no split"):
        unlabelled.load(str(tmp_path / "a.txt"), Options(split="test"))


def test_a_name_that_no_folder_can_have_is_made_plain(tmp_path):
    (tmp_path / "what? mine!.txt").write_text("one\n")
    assert unlabelled.load(str(tmp_path / "what? mine!.txt")).name == "what_ mine_"


def test_a_labelled_set_gives_its_texts_or_its_ordinary_ones(make_prompts):
    prompts = make_prompts(["one", "two", "two", "three"], [1, 0, 0, 0])
    assert unlabelled.of_set(prompts).texts == ["one", "two", "three"]
    ordinary = unlabelled.of_set(prompts, ordinary=True)
    assert ordinary.texts == ["two", "three"] and ordinary.memorized == 1


def test_a_folder_laid_out_as_a_hub_dataset_is_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("A card.")
    for split in ("train", "test"):
        table = pa.table({"caption": [f"{split} one", None, f"{split} one"]})
        pq.write_table(table, folder / "data" / f"{split}-00000.parquet")
    listed = unlabelled.load(str(folder), Options(split="test"))
    assert (listed.ids, listed.texts) == (["set-1", "set-3"], ["test one"])
    assert len(listed.unread) == 1
    with pytest.raises(UserError, match=r"scan\.split=NAME"):
        unlabelled.load(str(folder), Options(split="dev"))


@pytest.mark.parametrize("column", ["label", "caption"])
def test_only_ids_and_prompts_have_columns(tmp_path, column):
    (tmp_path / "a.csv").write_text("prompt\none\n")
    with pytest.raises(UserError, match=f"no column named '{column}'; known: id, prompt"):
        unlabelled.load(str(tmp_path / "a.csv"), Options({column: "x"}))
