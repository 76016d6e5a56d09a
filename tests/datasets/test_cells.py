"""What the columns hold that a prompt table need not have."""

import json

import numpy as np
import pytest

from anisomem.datasets.files import load
from anisomem.errors import UserError
from tests.datasets.written import ROWS, TEXTS, png, rows, saved, written


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
