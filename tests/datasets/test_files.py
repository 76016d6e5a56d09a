"""A user's own prompts become a set, or one line that says what is wrong with them."""

import os
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.config import compose
from anisomem.datasets.files import load, of_rows, texts
from anisomem.errors import UserError
from anisomem.run import labelled
from tests.datasets.written import CSV, ROWS, TEXTS, rows, saved, written


@pytest.mark.parametrize(
    "labels",
    [[1, 0], [True, False], ["1", "0"], ["True", "false"], [1.0, 0.0]],
)
def test_labels_in_every_form(tmp_path, labels):
    rows = [{"prompt": f"text {i}", "label": label} for i, label in enumerate(labels)]
    for suffix in (".parquet", ".jsonl", ".csv"):
        prompts = load(str(written(tmp_path, suffix, rows)))
        assert prompts.labels.tolist() == [1, 0]
        assert prompts.ids == ["mine-1", "mine-2"]


def test_columns_by_other_names_and_clusters_by_text(tmp_path):
    rows = [
        {"caption": "a red cat", "is_memorized": 1},
        {"caption": "a red cat sits", "is_memorized": 1},
        {"caption": "dogs", "is_memorized": 0},
    ]
    columns = {"prompt": "caption", "label": "is_memorized"}
    prompts = load(str(written(tmp_path, ".csv", rows)), columns=columns)
    assert prompts.clusters.tolist() == [0, 0, 1]


def test_partial_prompts_are_left_out_and_said(tmp_path):
    prompts = load(str(written(tmp_path, ".csv")))
    assert prompts.ids == ["x", "z"]
    assert prompts.cautions == ["1 of 3 prompts left out, labelled partial"]
    settled = load(str(written(tmp_path, ".csv", [ROWS[0], ROWS[2]])))
    assert settled.cautions == []


def test_two_lists(tmp_path):
    (tmp_path / "yes.txt").write_text("one\ntwo words\n", "utf-8")
    (tmp_path / "no.txt").write_text(' "three" \x85still', "utf-8")  # no newline at the end
    prompts = load(memorized=str(tmp_path / "yes.txt"), others=str(tmp_path / "no.txt"))
    assert prompts.texts == ["one", "two words", ' "three" \x85still']
    assert prompts.labels.tolist() == [1, 1, 0]
    assert prompts.ids == ["yes-1", "yes-2", "no-1"]
    assert prompts.blocks == ["yes", "yes", "no"]


def test_a_hub_dataset(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "y": ClassLabel(names=["no", "yes"])})
    table = Dataset.from_dict({"text": ["a", "b", "c"], "y": [1, 0, 1]}, features)
    (tmp_path / "set").mkdir()
    table.to_parquet(tmp_path / "set" / "test-00000.parquet")
    columns = {"prompt": "text", "label": "y"}
    prompts = load(str(tmp_path / "set"), split="test[1:]", columns=columns)
    assert (prompts.texts, prompts.labels.tolist()) == (["b", "c"], [0, 1])
    with pytest.raises(UserError, match="no prompt file or hub dataset") as caught:
        load(str(tmp_path / "set"), split="validation")
    assert "\n" not in str(caught.value)


def test_a_name_of_nothing_is_not_looked_for_in_the_hub(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(UserError, match="hub dataset 'testbed_epsilo'; the latter is OWNER/NAME"):
        load("testbed_epsilo")


def changed(at, **cells):
    return [row | cells if i == at else row for i, row in enumerate(ROWS)]


def without(*columns):
    return [{k: v for k, v in row.items() if k not in columns} for row in ROWS]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(1, prompt=" "), "{2}: empty prompt"),
        (changed(2, id="x"), "{3} repeats an id of"),
        (changed(0, label="memorable"), "{1}: no label named 'memorable'; expected 1, true, yes"),
        (changed(0, label="2"), "{1}: no label named '2'"),
        (changed(2, label="memorized"), "has no other prompts"),
        (changed(0, label="partial"), "has no memorized prompts"),
        (without("label", "prompt"), "lacks columns prompt, label; it has id, cluster, block"),
        ([row | {"repetitions": "many"} for row in ROWS], "column repetitions must hold integers"),
        ([row | {"picture": "x.png"} for row in ROWS], "column picture must hold pictures"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(tmp_path, suffix, rows, message):
    file = written(tmp_path, suffix, rows)
    for row in (1, 2, 3):
        place = f"line {row + 1}" if suffix == ".csv" else f"row {row}"
        place = f"line {row}" if suffix == ".jsonl" else place
        message = message.replace(f"{{{row}}}", place)
    with pytest.raises(UserError) as caught:
        load(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "prompt,label\ncat,1\n\ndog,0", "a.csv, line 3: 0 cells, expected 2"),
        ("a.csv", "prompt,label\ncat,1,2\ndog,0", "a.csv, line 2: 3 cells, expected 2"),
        ("a.csv", 'prompt,label\n"cat,1\n', "a.csv, line 2: a quote is opened here"),
        ("a.csv", "prompt,label\n", "a.csv has no prompts"),
        (
            "a.jsonl",
            '{"prompt": "cat", "label": 1}\n\n{}',
            "a.jsonl, line 2: expected a JSON object",
        ),
        ("a.jsonl", "[1]", "a.jsonl, line 1: expected a JSON object, got '[1]'"),
        ("a.jsonl", '{"prompt": "a", "label": 1}\n{"prompt": "b"}', "line 2 lacks label"),
        (
            "a.csv",
            "prompt,label\ncaf\xe9,1".encode("latin-1"),
            "is not UTF-8 text (line 2, ",
        ),
        ("a.parquet", "nothing", "a.parquet cannot be read: "),
        ("a.txt", "cat", "prompts without labels; give dataset.memorized=FILE.txt"),
        ("a.xlsx", "", "should end in .csv, .tsv, .jsonl, .ndjson, .json, .parquet"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, name, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_choices_that_make_no_sense(tmp_path):
    file = str(written(tmp_path, ".csv"))
    (tmp_path / "yes.txt").write_text("one\n\ntwo\n")
    text = str(tmp_path / "yes.txt")
    for message, choice in (
        ("give either dataset.path=FILE, or", {}),
        ("give either dataset.path=FILE, or", {"memorized": text}),
        ("give either dataset.path=FILE, or", {"path": file, "memorized": text}),
        ("did you mean 'prompt'?", {"path": file, "columns": {"promt": "prompt"}}),
        ("no column named 'promt'", {"path": file, "columns": {"prompt": "promt"}}),
        ("dataset.columns maps our names to the file's, got 3", {"path": file, "columns": 3}),
        ("no prompt file at '/nowhere.csv'", {"path": "/nowhere.csv"}),
        ("yes.txt, line 2: empty prompt", {"memorized": text, "others": file}),
        ("are one file", {"memorized": text, "others": text}),
    ):
        with pytest.raises(UserError) as caught:
            load(**choice)
        assert message in str(caught.value)


def test_folders_and_patterns(tmp_path):
    for number, part in enumerate((rows()[:2], rows()[2:])):
        (tmp_path / "set.parquet").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(part), tmp_path / "set.parquet" / f"{number}.parquet")
    (tmp_path / "set.parquet" / "_SUCCESS").touch()
    for path, name in (("set.parquet", "set"), ("set.parquet/?.parquet", "set.parquet")):
        prompts = load(str(tmp_path / path))
        assert (prompts.name, prompts.texts) == (name, TEXTS)
        assert prompts.ids == [f"{name}-{i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("made", ["pipe", "broken", "folder", "device", "linked", "many", "text"])
def test_what_has_no_end_is_one_line(tmp_path, monkeypatch, made):
    monkeypatch.setattr("anisomem.datasets.places.MOST", 3)
    file = tmp_path / "set" / "x.csv"
    file.parent.mkdir()
    expected = {
        "pipe": "is a pipe or a device, expected a file",
        "broken": "is a link to what is not there",
        "folder": "is a folder without a file in .csv",
        "device": "is a pipe or a device, expected a file",
        "linked": "is a link to another folder",
        "many": "has more than 3 files; name those that are meant",
        "text": "is a folder without a file in .csv",
    }[made]
    if made == "pipe":
        os.mkfifo(file)
    elif made == "folder":
        file.mkdir()
    elif made == "linked":
        (tmp_path / "set" / "up").symlink_to(tmp_path)
    elif made in ("many", "text"):
        for number in range(4 if made == "many" else 1):
            saved(tmp_path / "set" / f"{number}.txt", "cat")
    else:
        file.symlink_to("/nowhere" if made == "broken" else "/dev/zero")
    chosen = file if made in ("pipe", "broken", "folder", "device") else file.parent
    for path in {chosen, file.parent}:
        with pytest.raises(UserError) as caught:
            load(str(path))
        assert expected in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError):
        load(memorized=str(chosen), others=saved(tmp_path / "b.txt", "owl"))


def test_a_hub_dataset_with_several_configurations(tmp_path):
    for name in ("big", "small"):
        (tmp_path / "set" / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "set" / name / "train.parquet")
    listed = "".join(
        f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("big", "small")
    )
    saved(tmp_path / "set" / "README.md", f"---\nconfigs:\n{listed}---\n")
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / "set"))
    assert "['big', 'small']" in str(caught.value)
    assert "dataset.config=NAME" in str(caught.value) and "\n" not in str(caught.value)
    assert load(str(tmp_path / "set"), config="big").texts == TEXTS
    with pytest.raises(UserError, match="is no hub dataset"):
        load(saved(tmp_path / "a.csv", CSV), config="big")


MEM, NON = ";Caption;URL\n0;a cat;u\n1;two dogs;u\n", '{"caption": "an owl"}\n{"caption": "sky"}'


def test_two_lists_may_be_tables_with_the_label_from_the_place(tmp_path):
    mem, non = saved(tmp_path / "mem.csv", MEM), saved(tmp_path / "non.jsonl", NON)
    prompts = load(memorized=mem, others=non, columns={"prompt": "Caption"})
    assert prompts.texts == ["a cat", "two dogs", "an owl", "sky"]
    assert prompts.labels.tolist() == [1, 1, 0, 0]
    assert prompts.ids == ["mem-1", "mem-2", "non-1", "non-2"]
    assert prompts.blocks == ["mem", "mem", "non", "non"]
    with pytest.raises(UserError, match=r"lacks columns prompt; .*dataset.columns.prompt=Caption"):
        load(memorized=mem, others=non)
    labelled = saved(tmp_path / "x.csv", "prompt,label\na,0\nb,1\n")
    with pytest.raises(UserError, match=r"line 2 is labelled '0', and .* given as memorized"):
        load(memorized=labelled, others=saved(tmp_path / "no.txt", "owl"))


@pytest.mark.parametrize("line", ["prompt,label", "Caption", '{"prompt": "a"}', ";Caption;URL"])
def test_a_table_that_is_called_text_is_refused(tmp_path, line):
    with pytest.raises(UserError, match="line 1 is no prompt but a heading or JSON"):
        load(
            memorized=saved(tmp_path / "a.txt", f"{line}\ncat\n"),
            others=saved(tmp_path / "b.txt", "owl"),
        )


def test_two_lists_of_one_file_name(tmp_path):
    paths = [saved(tmp_path / place / "prompts.txt", f"{place}\nx") for place in ("mem", "non")]
    prompts = load(memorized=paths[0], others=paths[1])
    assert prompts.ids == [f"prompts-{w}-{i}" for w in ("memorized", "others") for i in (1, 2)]
    assert prompts.blocks == ["prompts-memorized"] * 2 + ["prompts-others"] * 2
    assert prompts.cautions == ["1 text labelled both memorized and not memorized"]


def test_one_text_under_both_labels_is_a_caution(tmp_path):
    text = "prompt,label\nA  Cat,1\na cat,0\ndog,1\ndog,1\nowl,0\n"
    assert load(saved(tmp_path / "a.csv", text)).cautions == [
        "1 text labelled both memorized and not memorized"
    ]


def test_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path / "a.csv", CSV)
    assert load("~/a.csv").texts == TEXTS
    with pytest.raises(UserError, match="~nobody-there"):
        load("~nobody-there/a.csv")


def test_ordinary_prompts_are_read_by_the_same_rules(tmp_path):
    assert texts(saved(tmp_path / "a.txt", "\ufeffred fox\r\nblue\u2028sky\x85\n")) == [
        "red fox",
        "blue\u2028sky\x85",
    ]
    assert texts(saved(tmp_path / "a.csv.gz", CSV)) == ["an owl", "blue sky"]
    assert texts(saved(tmp_path / "a.jsonl", '{"prompt": "owl"}')) == ["owl"]
    for content, message in (("caf\xe9".encode("latin-1"), "is not UTF-8"), ("a\n\nb", "empty")):
        with pytest.raises(UserError, match=message):
            texts(saved(tmp_path / "a.txt", content))


DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_every_documented_choice_of_columns_works_as_it_is_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "prompt,label\n" + "".join(f"{row['prompt']},{row['label']}\n" for row in rows())
    saved(tmp_path / "mine.csv", text.replace("prompt,label", "caption,is_memorized"))
    joined = DOCS.read_text().replace("\\\n", " ")
    typed = re.findall(r"^anisomem run (.*dataset\.columns.*)$", joined, re.MULTILINE)
    message = (
        "dataset=prompts_file dataset.path=mine.csv "
        "'dataset.columns={prompt:caption,label:is_memorized}'"
    )
    assert len(typed) == 2
    for command in (*typed, message):
        (case,) = compose.cases(shlex.split(command))
        prompts = labelled.whole(case)
        assert (prompts.texts, prompts.labels.tolist()) == (TEXTS, [1, 1, 0, 0])


def test_rows_in_memory_are_the_same_set_as_in_a_file(tmp_path):
    columns = {
        "prompt": ["a red fox", "a red fox!", "a dog"],
        "label": [1, 1, 0],
        "repetitions": [3, 4, 0],
        "block": ["x", "", "y"],
    }
    table = [
        dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
    ]
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    read, made = load(str(tmp_path / "mine.parquet")), of_rows(table, "mine")
    for name in ("name", "ids", "texts", "blocks", "kinds"):
        assert getattr(made, name) == getattr(read, name)
    for name in ("labels", "clusters", "repetitions"):
        assert getattr(made, name).tolist() == getattr(read, name).tolist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "mine has no prompts"),
        ([{"text": "a", "label": 1}], "mine lacks columns prompt; it has text, label"),
        ([{"prompt": "a", "label": 5}], "mine, row 1: no label named '5'"),
        ([{"prompt": "a", "label": 1}, {"prompt": "", "label": 0}], "mine, row 2: empty prompt"),
    ],
)
def test_rows_in_memory_that_are_wrong_are_one_line(rows, said):
    with pytest.raises(UserError, match=re.escape(said)):
        of_rows(rows, "mine")
