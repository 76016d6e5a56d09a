"""What a prompt set refuses, and its subsets."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.datasets.prompts import load_parquet
from anisomem.errors import UserError

TEXTS, LABELS, CLUSTERS = ["a", "b", "c", "d"], [1, 0, 0, 1], [7, 7, 8, 9]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], [1, 1], "prompt set 'made' has no other prompts; "),
        (["a", "b"], [0, 0], "prompt set 'made' has no memorized prompts; "),
        ([], [], "prompt set 'made' has no memorized and no other prompts; "),
        (["a", "", "c"], [1, 0, 0], "prompt set 'made' has an empty prompt: id 'p1'"),
        (["a", "b", " \n"], [1, 0, 0], "prompt set 'made' has an empty prompt: id 'p2'"),
    ],
)
def test_refuses(make_prompts, texts, labels, message):
    with pytest.raises(UserError) as caught:
        make_prompts(texts, labels)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_subset_by_indices_and_by_mask(make_prompts):
    whole = make_prompts(TEXTS, LABELS, CLUSTERS)
    for rows, at in (
        ([2, 0], [2, 0]),
        (np.array([3, 1]), [3, 1]),
        (np.array(CLUSTERS) == 7, [0, 1]),
        ([False, True, True, True], [1, 2, 3]),
    ):
        part = whole.subset(rows)
        assert len(part) == len(at)
        assert part.name == "made"
        assert part.ids == [f"p{i}" for i in at]
        assert part.texts == [TEXTS[i] for i in at]
        assert part.labels.tolist() == [LABELS[i] for i in at]
        assert part.clusters.tolist() == [CLUSTERS[i] for i in at]
        assert (len(part.blocks), len(part.kinds)) == (len(at), len(at))
    assert (whole.texts, whole.labels.tolist()) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1, 2], "no memorized prompts"),
        ([0, 1, 0], "repeats an id"),
        (np.zeros(4, bool), "no memorized and no other prompts"),
    ],
)
def test_a_subset_is_checked_as_a_set_is(make_prompts, rows, message):
    with pytest.raises(UserError, match=message) as caught:
        make_prompts(TEXTS, LABELS).subset(rows)
    assert "\n" not in str(caught.value)


TABLE = {
    "id": ["x", "y", "z"],
    "prompt": ["a cat", "a dog", "a cow"],
    "label": ["memorized", "partial", "not_memorized"],
    "cluster": [4, 5, 6],
    "block": ["B1", "B2", "B3"],
    "kind": ["k1", "k2", "k3"],
}


def test_a_file_of_prompts(tmp_path):
    pq.write_table(pa.table(TABLE), tmp_path / "mine.parquet")
    for given, name in ((None, "mine"), ("other", "other")):
        prompts = load_parquet(tmp_path / "mine.parquet", given)
        assert prompts.name == name
        assert (prompts.ids, prompts.texts) == (["x", "z"], ["a cat", "a cow"])
        assert (prompts.labels.tolist(), prompts.clusters.tolist()) == ([1, 0], [4, 6])
        assert (prompts.blocks, prompts.kinds) == (["B1", "B3"], ["k1", "k3"])


def test_what_a_file_may_say_besides(tmp_path):
    more = {
        "repetitions": [9, 8, 0],
        "reproduction_rate": [0.75, 0.25, 0.0],
        "picture": [{"bytes": b"x", "path": None}, {"bytes": b"y", "path": None}, None],
    }
    pq.write_table(pa.table(TABLE | more), tmp_path / "more.parquet")
    pq.write_table(pa.table(TABLE), tmp_path / "less.parquet")
    prompts = load_parquet(tmp_path / "more.parquet")
    for chosen, at in ((prompts, [0, 1]), (prompts.subset([1, 0]), [1, 0])):
        assert chosen.repetitions.tolist() == [[9, 0][i] for i in at]
        assert chosen.reproduction_rates.tolist() == [[0.75, 0][i] for i in at]
        assert chosen.pictures == [[b"x", None][i] for i in at]
    bare = load_parquet(tmp_path / "less.parquet").subset([1, 0])
    assert (bare.repetitions, bare.reproduction_rates, bare.pictures) == (None, None, None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE | {"repetitions": [1, 2, None]}, "column repetitions must hold integers"),
        (TABLE | {"picture": ["x.png", "y.png", "z.png"]}, "column picture must hold pictures"),
        (None, "no prompt file"),
        ({k: v for k, v in TABLE.items() if k not in ("kind", "label")}, "label, kind"),
        (TABLE | {"label": ["memorized", "memorised", "partial"]}, "did you mean 'memorized'"),
    ],
)
def test_a_wrong_file_of_prompts_is_one_line(tmp_path, table, message):
    file = tmp_path / "mine.parquet"
    if table:
        pq.write_table(pa.table(table), file)
    with pytest.raises(UserError, match=message) as caught:
        load_parquet(file)
    assert "\n" not in str(caught.value)
