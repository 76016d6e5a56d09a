"""A user's own prompts, from every kind of file."""

import gzip
import io
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.config import compose
from anisomem.datasets.files import load, texts
from anisomem.errors import UserError
from anisomem.run import labelled

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


TEXTS = ["a red cat", "two dogs", "an owl", "blue sky"]


def saved(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix.lower() == ".gz" else content)
    return str(file)


def rows(**columns):
    """Four prompts, the first two memorized, with more columns."""
    cells = {"prompt": TEXTS, "label": [1, 1, 0, 0], **columns}
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


CSV = "prompt,label\n" + "".join(f"{row['prompt']},{row['label']}\n" for row in rows())
JSONL = "\n".join(json.dumps(row) for row in rows())


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

    monkeypatch.setattr("anisomem.datasets.tables._opened", refuse)
    with pytest.raises(UserError, match=r"a\.csv cannot be read: Permission denied"):
        load(file)


def test_bounds(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.csv.gz", CSV)
    monkeypatch.setattr("anisomem.datasets.tables.ROWS", 3)
    with pytest.raises(UserError, match="line 5: more than 3 rows"):
        load(file)
    monkeypatch.setattr("anisomem.datasets.tables.LINE", 1 << 20)
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


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_cells_of_optional_columns_may_be_empty(tmp_path, suffix):
    empty = "" if suffix == ".csv" else None
    table = rows(
        id=["x", empty, "y", empty],
        cluster=[3, empty, 3, empty],
        block=["B", empty, "B", empty],
        kind=[empty, "VM", empty, empty],
        repetitions=[5.0, empty, empty, empty],
        mean_sscd=[0.5, empty, empty, empty],
        urls=["['u', 'v']", empty, "w", "[]"],
    )
    prompts = load(str(written(tmp_path, suffix, table)))
    assert prompts.ids == ["x", "mine-2", "y", "mine-4"]
    assert prompts.clusters.tolist() == [0, 1, 0, 2]
    assert prompts.blocks == ["B", "unknown", "B", "unknown"]
    assert prompts.kinds == ["unknown", "VM", "unknown", "unknown"]
    assert prompts.repetitions.tolist() == [5, 0, 0, 0]
    assert prompts.mean_sscd.tolist()[0] == 0.5 and np.isnan(prompts.mean_sscd[1:]).all()
    assert prompts.urls == [["u", "v"], [], ["w"], []]


def test_keys_may_be_missing_in_some_rows(tmp_path):
    sparse = [{k: v for k, v in row.items() if i or k != "kind"} for i, row in enumerate(rows())]
    sparse[2]["kind"] = "VM"
    sparse[3]["cluster"] = 10**30
    prompts = load(saved(tmp_path / "a.jsonl", "\n".join(map(json.dumps, sparse))))
    assert prompts.kinds == ["unknown", "unknown", "VM", "unknown"]
    assert prompts.clusters.tolist() == [0, 1, 2, 3]  # a prompt without one is its own


@pytest.mark.parametrize("none", ["", "  ", "nan", "NaN", "NA", "n/a", "None", "null", "-1"])
def test_a_prompt_in_no_cluster_is_its_own_however_that_is_written(tmp_path, none):
    cells = ["7", none, none, "7.0"]  # pandas writes 7.0 where other cells are empty
    text = "".join(f"{t},{i % 2},{c}\n" for i, (t, c) in enumerate(zip(TEXTS, cells, strict=True)))
    assert load(saved(tmp_path / "a.csv", f"prompt,label,cluster\n{text}")).clusters.tolist() == [
        0,
        1,
        2,
        0,
    ]
    table = rows(cluster=[3, -1, -1, 3])  # DBSCAN's labels
    assert load(str(written(tmp_path, ".parquet", table))).clusters.tolist() == [0, 1, 2, 0]


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


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("repetitions", 10**30),
        ("repetitions", 0.5),
        ("repetitions", -1),
        ("reproduction_rate", 93),  # a percentage
        ("reproduction_rate", -0.1),
        ("mean_sscd", 50),
        ("urls", "['a' 'b']"),  # as numpy prints: Python would join them
        ("urls", "[__import__('os')]"),
        ("urls", "[" * 5000 + "]"),
        ("urls", "[1]"),
        ("picture", {"bytes": None, "path": "/etc/passwd"}),
        ("picture", {"path": "x"}),
        ("picture", [1]),
    ],
)
def test_what_a_column_cannot_hold(tmp_path, column, cell):
    text = "\n".join(json.dumps(row) for row in rows(**{column: [cell] * 4}))
    with pytest.raises(UserError, match=f"column {column} must hold") as caught:
        load(saved(tmp_path / "a.jsonl", text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"junk", png("red", "BMP")])
def test_a_picture_is_checked_before_anything_is_recorded(tmp_path, content):
    table = rows(picture=[{"bytes": png("red")}, {"bytes": content}, None, None])
    with pytest.raises(UserError, match=r"picture 2: .* cannot read as PNG, JPEG, WebP or GIF"):
        load(str(written(tmp_path, ".parquet", table)))


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


def test_accents_of_a_heading_may_be_encoded_otherwise(tmp_path):
    file = saved(tmp_path / "a.csv", CSV.replace("prompt", "le\u0301gende"))
    assert load(file, columns={"prompt": "l\u00e9gende"}).texts == TEXTS


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
