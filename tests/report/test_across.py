"""Cases side by side: which cells are the best of a column, and mean ranks."""

from types import SimpleNamespace

import numpy as np
import pytest

from anisomem.evaluation import Evaluation, enough_draws
from anisomem.report import across
from anisomem.report.colours import colours
from anisomem.report.compared import Compared

LABELS = np.arange(60) < 30
ALONE = np.arange(60)  # every prompt a cluster
SURE = np.where(LABELS, 1.0, 0.0) + np.linspace(0, 0.1, 60)  # AUC 1
LESS = np.where(np.arange(60) % 3 == 0, 0.0, SURE) + np.linspace(0, 0.01, 60)
TURNED = -SURE


def case(title, clusters=ALONE, **scores):
    evaluation = Evaluation(
        np.stack(list(scores.values()))[:, None],
        LABELS,
        clusters,
        [0.1],
        draws=enough_draws(10, 30),
    )
    detectors = [SimpleNamespace(key=key) for key in scores]
    return Compared(title, title, 0.1, detectors, evaluation, evaluation.comparisons())


@pytest.fixture(scope="module")
def found():
    return across.across(
        [
            case("one", turned=TURNED, sure=SURE, again=SURE, less=LESS, alone=SURE),
            case("two", less=LESS, turned=TURNED, sure=SURE, again=SURE),
        ]
    )


def test_the_best_of_a_column_and_what_is_not_separable_from_it(found):
    area, rate = found
    assert (area.name, rate.name, area.names) == ("AUC", "TPR@10%FPR", ["one", "two"])
    best = {key: [cell and cell.is_best for cell in cells] for key, cells in area.cells.items()}
    assert best == {
        "turned": [False, False],
        "sure": [True, True],
        "again": [True, True],
        "less": [False, False],
        "alone": [True, None],
    }
    assert [cell.value for cell in area.cells["sure"]] == [1, 1]
    assert [cell.value for cell in area.cells["turned"]] == [0, 0]


def test_where_too_few_clusters_decide_nothing_is_marked_as_equal_to_the_best():
    few = case("few", np.arange(60) // 10, less=LESS, turned=TURNED, sure=SURE)
    many = case("many", less=LESS, turned=TURNED, sure=SURE)
    found = across.across([few, many])
    assert [c.is_best for c in found[0].cells["turned"]] == [False, False]
    assert [c.is_best for c in found[0].cells["sure"]] == [True, True]
    assert many.undecided == ""
    said = "few: 3 effective clusters tell no two of 3 detectors apart, whatever they score"
    assert few.undecided.startswith(said) and found[0].undecided == [few.undecided]
    assert any(note.startswith(said) for note in across.table(found).notes)
    assert few.undecided in across.figure(found, colours(list(found[0].cells))).get_suptitle()


def test_mean_ranks_of_what_every_case_has(found):
    ranks = found[0].ranks
    assert set(ranks) == {"turned", "sure", "again", "less"}
    # Both that are equal share the first two places, in every sample.
    assert ranks["sure"] == ranks["again"] == across.Rank(1.5, 1.5, 1.5)
    assert ranks["less"] == across.Rank(3, 3, 3) and ranks["turned"] == across.Rank(4, 4, 4)
    assert found[0].order == ["sure", "again", "less", "turned", "alone"]


def test_ranks_that_samples_disagree_on_have_an_interval():
    rng = np.random.default_rng(0)
    noisy = {f"d{i}": LABELS + rng.normal(0, 1.5, 60) for i in range(3)}
    (area, *_) = across.across([case("one", **noisy), case("two", **noisy)])
    assert sum(rank.value for rank in area.ranks.values()) == pytest.approx(6)
    assert all(rank.low <= rank.value <= rank.high for rank in area.ranks.values())
    assert any(rank.low < rank.high for rank in area.ranks.values())


def test_a_statistic_that_one_case_cannot_resolve_is_left_out():
    narrow = case("two", sure=SURE, less=LESS)
    narrow = Compared("two", "two", 0.001, narrow.detectors, narrow.evaluation, narrow.pairs)
    assert [one.name for one in across.across([case("one", sure=SURE, less=LESS), narrow])] == [
        "AUC"
    ]


def test_table_and_figure_say_where_a_detector_was_not_run(found):
    rows = {row[0]: row[1:] for row in across.table(found).rows}
    assert rows["sure"] == ["1.000 *", "1.000 *", "1.5 [1.5, 1.5]"] * 2
    assert rows["alone"][:3] == ["1.000 *", "–", "–"]
    keys = [key for one in found for key in one.cells]
    picture = across.figure(found, colours(keys))
    texts = [text.get_text() for axis in picture.axes for text in axis.texts]
    assert texts.count("–") == 2 and "1" in texts
