"""What a prompt set refuses, and its subsets."""

from dataclasses import replace

import numpy as np
import pytest

from anisomem.datasets.files import load
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


def test_a_dataset_has_explicit_features_and_is_read_again(make_prompts, tmp_path):
    from datasets import ClassLabel, List, Value

    whole = replace(
        make_prompts(["a cat", "cat " * 76, "a dog"], [1, 0, 0], [7, 8, 8]),
        families=["", "cats", ""],
        urls=[["u", "v"], [], ["w"]],
        max_sscd=np.array([0.5, np.nan, 0.25]),
    )
    table = whole.to_dataset()
    assert table["tokens"][:] == [2, 76, 2] and table["truncated"][:] == [False, True, False]
    assert table.features["label"] == ClassLabel(names=["not_memorized", "memorized"])
    assert table.features["urls"] == List(Value("string"))
    assert "pictures" not in table.features and "repetitions" not in table.features

    table.to_parquet(tmp_path / "made.parquet")
    again = load(str(tmp_path / "made.parquet"))
    for column in ("name", "ids", "texts", "blocks", "kinds", "families", "urls", "pictures"):
        assert getattr(again, column) == getattr(whole, column)
    for column in ("labels", "clusters", "max_sscd"):
        np.testing.assert_array_equal(getattr(again, column), getattr(whole, column))


def test_one_prompt_of_every_cluster_and_class(make_prompts):
    prompts = make_prompts(list("abcdef"), [0, 1, 1, 0, 1, 0], [5, 5, 5, 5, 2, 9])
    assert prompts.one_per_cluster() == [0, 1, 4, 5]
