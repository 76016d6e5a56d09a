"""Which detectors pictures join and part."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from anisomem.evaluation import NOT_SEPARABLE, Evaluation
from anisomem.report import pairs
from anisomem.report.colours import colours
from anisomem.report.compared import Compared


def compared(rows, labels, draws):
    """Detectors a, b, ... with these scores."""
    names = [chr(ord("a") + i) for i in range(len(rows))]
    detectors = [SimpleNamespace(key=name, name=name) for name in names]
    evaluation = Evaluation(rows[:, None], labels, np.arange(len(labels)), [0.01], draws)
    return Compared(
        "made", "a model on made", 0.01, detectors, evaluation, evaluation.comparisons()
    )


LETTERS = colours("abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="module")
def three():
    """b separates all, c half as well; a is c with the last two prompts exchanged."""
    labels = np.repeat([0, 1], 100)
    rng = np.random.default_rng(0)
    c = rng.normal(size=200) + labels
    a = c.copy()
    a[[198, 199]] = c[[199, 198]]
    return compared(np.stack([a, labels * 10 + rng.uniform(size=200), c]), labels, draws=400)


def test_order_is_by_value_and_equal_ones_are_joined(three):
    by_auc, by_tpr = pairs.rankings(three)
    assert by_auc.name == "AUC" and by_tpr.name == "TPR@1%FPR"
    for ranking in (by_auc, by_tpr):
        assert list(ranking.order) == [1, 0, 2]  # of equals the first
        assert ranking.values[1] == 1 and ranking.values[0] == ranking.values[2] < 1
        assert ranking.bars() == [(1, 2)]
        assert ranking.tiers() == [[1], [0, 2]]


def test_bars_and_names_stand_at_ranks(three):
    figure = pairs.critical_difference(three, LETTERS)
    points, bars, *_ = figure.axes
    assert [list(dot.get_ydata()) for dot in points.lines] == [[0], [1], [2]]
    assert [dot.get_color() for dot in points.lines] == [LETTERS[name] for name in "bac"]
    value = pairs.rankings(three)[0].values[0]
    assert [dot.get_xdata()[0] for dot in points.lines[1:]] == pytest.approx([value, value])
    names = {text.get_text(): text.xy[1] for text in points.texts}
    assert names == {"b  1.000": 0} | {
        f"{three.evaluation.summaries()[0].auc.value:.3f}  {key}": rank
        for key, rank in (("a", 1), ("c", 2))
    }
    _, members = bars.lines
    assert list(members.get_ydata()) == [1, 2]
    plt.close(figure)


def test_what_cannot_be_resolved_has_no_panel():
    labels = np.repeat([0, 1], 50)
    figure = pairs.critical_difference(
        compared(np.random.default_rng(0).normal(size=(2, 100)), labels, 100), LETTERS
    )
    assert len(figure.axes) == 2
    plt.close(figure)


def _until(ranking, tier):
    """The groups above one."""
    tiers = ranking.tiers()
    return tiers[: tiers.index(tier)]


def test_many_are_in_groups_that_are_shaded_and_numbered(many):
    found = compared(many.evaluated.scores[1::2, 0], many.prompts.labels, draws=24_000)
    figure = pairs.critical_difference(found, LETTERS)
    tiers = pairs.rankings(found)[0].tiers()
    assert 1 < len(tiers) < 25 and sorted(d for t in tiers for d in t) == list(range(25))
    points, numbers = figure.axes[:2]
    assert [text.get_text() for text in numbers.texts] == [str(i + 1) for i in range(len(tiers))]
    bands = [(p.get_y(), p.get_y() + p.get_height()) for p in points.patches]
    ends = np.cumsum([0, *map(len, tiers)]) - 0.5
    expected = [pytest.approx((ends[i], ends[i + 1])) for i in range(0, len(tiers), 2)]
    assert bands == expected
    plt.close(figure)


def test_bars_of_many_are_the_adjusted_verdicts(many):
    scores = many.evaluated.scores[1::2, 0]  # n = 4
    found = compared(scores, many.prompts.labels, draws=24_000)
    for ranking, verdict in zip(
        pairs.rankings(found),
        (lambda pair: pair.auc_verdict, lambda pair: pair.tpr_verdict(0.01)),
        strict=True,
    ):
        joined = {
            frozenset((ranking.order[x], ranking.order[y]))
            for group in ranking.bars()
            for x, y in combinations(group, 2)
        }
        tied = {frozenset((p.a, p.b)) for p in found.pairs if verdict(p) == NOT_SEPARABLE}
        assert joined == tied and 0 < len(tied) < len(found.pairs) == 300
        for tier in ranking.tiers():
            others = [d for d in ranking.order if all(d not in t for t in _until(ranking, tier))]
            assert tier[0] == others[0]
            assert tier[1:] == [d for d in others if frozenset((tier[0], d)) in tied]
    figure = pairs.verdicts(found, LETTERS)
    rule = "separable: p < 0.05 after Holm's adjustment over 300 pairs"
    assert figure.get_suptitle().endswith(rule)
    axis = figure.axes[0]
    cells = {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)): p for p in axis.patches}
    assert len(cells) == 25 * 24
    tiers = pairs.rankings(found)[0].tiers()
    rank = {d: r for r, d in enumerate(d for tier in tiers for d in tier)}
    assert len(axis.lines) == 2 * (len(tiers) - 1) and not axis.texts
    for pair in found.pairs:
        cell = cells[rank[pair.b], rank[pair.a]]
        expected = plt.matplotlib.colors.to_rgba(pairs.VERDICTS[pair.auc_verdict])
        assert cell.get_facecolor() == expected
    plt.close(figure)
