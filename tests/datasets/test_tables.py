"""Every format of table says the same, within bounds, or is refused in one line."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.datasets.files import load, texts
from anisomem.errors import UserError
from tests.datasets.written import CSV, JSONL, TEXTS, rows, saved, written


@pytest.mark.parametrize(
    ("suffix", "delimiter"),
    [(".parquet", ""), (".jsonl", ""), (".csv", ","), (".csv", ";"), (".csv", "\t")],
)
def test_every_format_says_the_same(tmp_path, suffix, delimiter):
    file = written(tmp_path, suffix, delimiter=delimiter)
    for given, name in ((None, "mine"), ("other", "other")):
        prompts = load(str(file), name=given)
        assert prompts.name == name
        assert prompts.ids == ["x", "z"]
        assert prompts.texts == ["a cat; a dog", 'she said "no"']
        assert prompts.labels.tolist() == [1, 0]
        assert len(set(prompts.clusters)) == 2
        assert (prompts.blocks, prompts.kinds) == (["B1", "B3"], ["unknown"] * 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.CSV", CSV),
        ("a.csv.gz", CSV),
        ("a.Csv.GZ", CSV),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.TSV.gz", CSV.replace(",", "\t")),
        ("a.ndjson", JSONL),
        ("a.jsonl.gz", JSONL),
        ("a.json", json.dumps(rows(), indent=2)),
        ("a.json", JSONL),  # as the datasets library writes it
        ("a.json.gz", "\ufeff" + json.dumps(rows())),
        ("a.csv", CSV.replace("prompt,label", " prompt , label")),
        ("a.csv", CSV.replace("prompt", "Prompt").replace("label", "LABEL")),
        ("a.csv", CSV.replace(",", ', "').replace("\n", '"\n').replace("prompt, ", "prompt, ")),
    ],
)
def test_every_legitimate_file_is_read(tmp_path, name, text):
    prompts = load(saved(tmp_path / name, text))
    assert (prompts.name, prompts.texts) == ("a", TEXTS)
    assert prompts.ids == [f"a-{i}" for i in (1, 2, 3, 4)]
    assert prompts.labels.tolist() == [1, 1, 0, 0]


def test_a_blank_before_a_quote_is_no_part_of_a_cell(tmp_path):
    text = 'label,prompt\n1, "a, b"\n0,  "two\nlines"\n'
    assert load(saved(tmp_path / "a.csv", text)).texts == ["a, b", "two\nlines"]
    # What is quoted itself, or not at all, keeps its blanks.
    text = 'label,prompt\n1," ""a"", ""b"""\n0, b\n'
    assert load(saved(tmp_path / "a.csv", text)).texts == [' "a", "b"', " b"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "prompt,label,label\ncat,1,0\n", "has 2 columns named 'label'"),
        ("a.csv", "prompt,label, label\ncat,1,0\n", "has 2 columns named 'label'"),
        ("a.csv", "Prompt,label,PROMPT\ncat,1,0\n", "has 2 columns named 'prompt'"),
        (
            "a.jsonl",
            '{"prompt": "a", "label": 1, "label": 0}',
            "has the key 'label' several times",
        ),
        ("a.json", '[{"prompt": "a", "prompt": "b", "label": 0}]', "the key 'prompt' several"),
        ("a.jsonl", '{"prompt": ["a", "b"], "label": 1}', "got a list; a row has one prompt"),
        ("a.jsonl", '{"prompt": 5, "label": 1}', "expected a text as prompt, got '5'"),
        ("a.jsonl", '{"prompt": null, "label": 1}', "line 1: empty prompt"),
        ("a.jsonl", '{"prompt": "a", "label": null}', "line 1: no label; expected 1"),
        ("a.csv", "prompt,label\ncat,\n", "line 2: no label; expected 1"),
        ("a.jsonl", '{"prompt": "a\\ud83d", "label": 1}', r"prompt has half a character, \ud83d"),
        ("a.jsonl", '{"prompt": "a", "label": 1, "id": "\\udc00"}', "id has half a character"),
        ("a.jsonl", '{"prompt": "a\\u0000", "label": 1}', "prompt has a NUL character"),
        ("a.jsonl", '{"prompt": ' + "[" * 100_000, "JSON within JSON, too deep"),
        ("a.json", "[" * 100_000, "JSON within JSON, too deep"),
        ("a.json", '{"prompt": {"0": "a"},\n"label": {"0": 1}}', "expected a list of objects"),
        ("a.jsonl", '{"prompt": "a", "label": ' + "1" * 5000 + "}", "expected a JSON object"),
        ("a.jsonl", '{"prompt": "a", "label": ' + "1" * 30 + "}", "no label named '1111"),
        ("a.csv", "prompt,label\na,1\n".encode("utf-16"), "is UTF-16 text, expected UTF-8"),
        ("a.csv.gz.csv", gzip.compress(b"x", mtime=0), "is not UTF-8 text"),
        ("a.csv", "", "lacks columns prompt, label"),
        ("a.csv", "caption,label\na,1\n", "dataset.columns.prompt=caption names another"),
        ("a.csv", "pr\u043empt,label\na,1\n", "(pr\\u043empt), label"),
        ("a.csv", "prompt,label\na,1\nb,0\nc,-1\n", "the labels 0 and -1"),
        ("a.parquet.gz", "x", "parquet is compressed in itself"),
    ],
)
def test_what_would_be_misread_is_refused(tmp_path, name, text, message):
    with pytest.raises(UserError) as caught:
        load(saved(tmp_path / name, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and "a." in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.json.gz", "a.parquet"])
def test_a_truncated_or_foreign_file_is_named(tmp_path, name):
    file = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows()), file)
    else:
        saved(file, JSONL * 50)
    for content in (file.read_bytes()[:-12], file.read_bytes()[:30] + b"x" * 50, b"", b"x"):
        file.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load(str(file))
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.csv", CSV)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("anisomem.datasets.bounded.opened", refuse)
    with pytest.raises(UserError, match=r"a\.csv cannot be read: Permission denied"):
        load(file)


def test_bounds(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.csv.gz", CSV)
    monkeypatch.setattr("anisomem.datasets.tables.ROWS", 3)
    with pytest.raises(UserError, match="line 5: more than 3 rows"):
        load(file)
    monkeypatch.setattr("anisomem.datasets.bounded.LINE", 1 << 20)
    with pytest.raises(UserError, match="line 2: more than 1 MiB in a line"):
        load(saved(tmp_path / "bomb.csv.gz", "prompt,label\n" + "a" * (1 << 21)))
    monkeypatch.setattr("anisomem.datasets.tables.DOCUMENT", 100)
    with pytest.raises(UserError, match="has more than 0 MiB"):
        load(saved(tmp_path / "a.json", json.dumps(rows())))


def test_columns_that_nobody_reads_are_not_read(tmp_path, monkeypatch):
    wide = ["x" * 200_000] * 4
    text = "prompt,label,note\n" + "".join(f"{t},{i % 2},{wide[0]}\n" for i, t in enumerate(TEXTS))
    assert load(saved(tmp_path / "a.csv", text)).texts == TEXTS
    bad = pa.array([b"\xff"] * 4).view(pa.string())  # no UTF-8
    table = pa.Table.from_pylist(rows()).append_column("other", bad)
    pq.write_table(table, tmp_path / "a.parquet")
    read = []
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, size, columns: read.append(columns) or batches(self, size, columns=columns),
    )
    assert load(str(tmp_path / "a.parquet")).texts == TEXTS
    assert read == [["prompt", "label"]]
    with pytest.raises(UserError, match="cannot be read: a text in it is not UTF-8"):
        load(str(tmp_path / "a.parquet"), columns={"block": "other"})


def test_empty_lines_at_the_end_do_not_count_and_others_are_an_error(tmp_path):
    for name, text in (("a.csv", CSV), ("a.jsonl", f"{JSONL}\n"), ("a.json", f"{JSONL}\n")):
        assert load(saved(tmp_path / name, f"{text}\n\r\n")).texts == TEXTS
        first, rest = text.split("\n", 1)
        with pytest.raises(UserError, match="line 2"):
            load(saved(tmp_path / name, f"{first}\n\n{rest}"))
    assert texts(saved(tmp_path / "a.txt", "fox\nsky\n\n\n")) == ["fox", "sky"]


def test_an_object_of_very_many_keys_is_read_in_no_more_than_its_length(tmp_path):
    wide = {f"k{i}": i for i in range(60_000)}  # pairwise, hours
    text = "\n".join(json.dumps({**row, **wide}) for row in rows())
    assert load(saved(tmp_path / "a.jsonl", text)).texts == TEXTS


def test_numbers_that_stand_for_names(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    for names, expected in ((["memorized", "other"], None), (["pos", "neg"], [1, 1, 0, 0])):
        features = Features({"prompt": Value("string"), "label": ClassLabel(names=names)})
        data = {"prompt": TEXTS, "label": [0, 0, 1, 1]}
        Dataset.from_dict(data, features).to_parquet(tmp_path / "a.parquet")
        if expected:
            assert load(str(tmp_path / "a.parquet")).labels.tolist() == expected
        else:
            with pytest.raises(UserError, match="no label named 'other'"):
                load(str(tmp_path / "a.parquet"))


def test_accents_of_a_heading_may_be_encoded_otherwise(tmp_path):
    file = saved(tmp_path / "a.csv", CSV.replace("prompt", "le\u0301gende"))
    assert load(file, columns={"prompt": "l\u00e9gende"}).texts == TEXTS
