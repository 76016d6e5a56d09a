"""A user's own prompts, from every kind of file."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.datasets.files import load
from anisomem.errors import UserError

ROWS = [
    {"id": "x", "prompt": "a cat; a dog", "label": "memorized", "cluster": 4, "block": "B1"},
    {"id": "y", "prompt": "naïve", "label": "partial", "cluster": 5, "block": "B2"},
    {"id": "z", "prompt": 'she said "no"', "label": "not_memorized", "cluster": 6, "block": "B3"},
]


def png(colour, form="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, form)
    return stream.getvalue()


def written(folder, suffix, rows=ROWS, delimiter=","):
    file = folder / f"mine{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    else:
        quoted = [
            ['"' + str(cell).replace('"', '""') + '"' for cell in row.values()] for row in rows
        ]
        text = "\n".join(delimiter.join(cells) for cells in [list(rows[0]), *quoted])
        file.write_text(text + "\n", "utf-8-sig")  # as spreadsheets write it
    return file


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


def test_what_a_file_may_say_besides(tmp_path):
    x, y = (png(colour) for colour in ("red", "blue"))
    picture = [{"bytes": x, "path": None}, {"bytes": y, "path": None}, None]
    more = [
        row | {"repetitions": n, "reproduction_rate": n / 10, "picture": p, "urls": ["u"] * n}
        for row, n, p in zip(ROWS, (9, 8, 0), picture, strict=True)
    ]
    prompts = load(str(written(tmp_path, ".parquet", more)))
    for chosen, at in ((prompts, [0, 1]), (prompts.subset([1, 0]), [1, 0])):
        assert chosen.repetitions.tolist() == [[9, 0][i] for i in at]
        assert chosen.reproduction_rates.tolist() == [[0.9, 0][i] for i in at]
        assert chosen.pictures == [[x, None][i] for i in at]
        assert chosen.urls == [[["u"] * 9, []][i] for i in at]
    assert prompts.clusters.tolist() == [4, 6]
    bare = load(str(written(tmp_path, ".parquet"))).subset([1, 0])
    assert (bare.repetitions, bare.reproduction_rates, bare.pictures) == (None, None, None)


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
        ("a.csv", 'prompt,label\n"cat,1\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", "prompt,label\n", "a.csv has no prompts"),
        (
            "a.jsonl",
            '{"prompt": "cat", "label": 1}\n\n',
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
        ("no prompt file at '/nowhere.csv'", {"path": "/nowhere.csv"}),
        ("yes.txt, line 2: empty prompt", {"memorized": text, "others": file}),
        ("are one file", {"memorized": text, "others": text}),
    ):
        with pytest.raises(UserError) as caught:
            load(**choice)
        assert message in str(caught.value)
