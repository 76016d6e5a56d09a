"""Which detectors pictures join and part."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from anisomem.evaluation import NOT_SEPARABLE, Evaluation
from anisomem.report import pairs
from anisomem.report.compared import Compared


def compared(rows, labels, draws):
    """Detectors a, b, ... with these scores."""
    detectors = [SimpleNamespace(key=chr(ord("a") + i)) for i in range(len(rows))]
    evaluation = Evaluation(rows[:, None], labels, np.arange(len(labels)), [0.01], draws)
    return Compared(
        "made", "a model on made", 0.01, detectors, evaluation, evaluation.comparisons()
    )


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
        assert ranking.groups == [(1, 2)]


def test_bars_and_names_stand_at_ranks(three):
    figure = pairs.critical_difference(three)
    points, bars, *_ = figure.axes
    (dots,) = points.lines
    np.testing.assert_allclose(dots.get_ydata(), [0, 1, 2])
    np.testing.assert_allclose(dots.get_xdata()[1:], pairs.rankings(three)[0].values[0])
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
        compared(np.random.default_rng(0).normal(size=(2, 100)), labels, 100)
    )
    assert len(figure.axes) == 2
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
            for group in ranking.groups
            for x, y in combinations(group, 2)
        }
        tied = {frozenset((p.a, p.b)) for p in found.pairs if verdict(p) == NOT_SEPARABLE}
        assert joined == tied and 0 < len(tied) < len(found.pairs) == 300
    figure = pairs.verdicts(found)
    rule = "separable: p < 0.05 after Holm's adjustment over 300 pairs"
    assert figure.get_suptitle().endswith(rule)
    axis = figure.axes[0]
    cells = {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)): p for p in axis.patches}
    assert len(cells) == 25 * 24
    rank = {d: r for r, d in enumerate(pairs.rankings(found)[0].order)}
    for pair in found.pairs:
        cell = cells[rank[pair.b], rank[pair.a]]
        expected = plt.matplotlib.colors.to_rgba(pairs.VERDICTS[pair.auc_verdict])
        assert cell.get_facecolor() == expected
    plt.close(figure)
