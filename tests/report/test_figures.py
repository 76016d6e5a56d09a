"""What figures show, from cases made by hand."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from anisomem.baselines.controls import Random
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from anisomem.benchmark.results import Row
from anisomem.engine.cost import TimedCounts
from anisomem.evaluation import Evaluation, auc
from anisomem.report import figures
from anisomem.report.compared import Compared
from anisomem.report.doses import dose_response
from anisomem.report.style import COLOURS, GREY


def test_roc_has_bands_around_few_curves(case):
    figure = figures.roc(case)
    (axis,) = figure.axes
    labels = case.prompts.labels
    areas = [auc(row[0], labels) for row in case.evaluated.scores]
    (band,) = axis.collections  # the first detector is the best and the headline
    curve = next(line for line in axis.lines if line.get_label().startswith("first"))
    assert f"({areas[0]:.3f})" in curve.get_label()
    assert to_hex(band.get_facecolor()[0]) == to_hex(curve.get_color())
    x, y = curve.get_data()
    edges = band.get_paths()[0].vertices
    for fpr in (0.005, 0.01, 0.02, 0.99):  # before any false positive, and where it may step
        at = np.flatnonzero(x <= fpr + 1e-9)[-1]
        column = edges[np.abs(edges[:, 0] - fpr) < 1e-9, 1]
        assert column.min() <= y[at] <= column.max()
    plt.close(figure)


def test_roc_of_many_names_as_many_as_there_are_colours(many):
    figure = figures.roc(many)
    (axis,) = figure.axes
    named = [line for line in axis.lines if ", n=4 (" in str(line.get_label())]
    keys = [line.get_label().split(" (")[0] for line in named]
    # the best six, and the headline, here the first
    best = [f"detector_{i}, n=4" for i in (24, 23, 22, 21, 20, 19)]
    assert sorted(keys) == sorted([*best, "detector_00, n=4"])
    assert len({to_hex(line.get_color()) for line in named}) == len(COLOURS)
    grey = [line for line in axis.lines if line.get_color() == GREY and len(line.get_xdata())]
    assert len(grey) == 25 - len(COLOURS)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1].startswith("18 others (0.")
    plt.close(figure)


def test_forest_of_many_has_a_row_per_detector(many):
    figure = figures.forest(many)
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == [
        f"detector_{i:02}" for i in range(25)
    ]
    summaries = many.evaluated.summaries()
    for axis, values in (
        (left, [s.auc.value for s in summaries]),
        (right, [s.tpr[0.01].value for s in summaries]),
    ):
        points = [line for line in axis.lines if line.get_marker() in "os"]
        drawn = [(line.get_xdata()[0], line.get_ydata()[0], line.get_color()) for line in points]
        assert len(drawn) == 50
        for i, ((x, y, colour), value) in enumerate(zip(drawn, values, strict=True)):
            assert x == pytest.approx(np.clip(value, 0.0005, 0.9995))
            assert round(y) == i // 2  # n = 1 above n = 4
            assert colour == COLOURS[i % 2]
    plt.close(figure)


def test_pareto_front_by_hand():
    # seconds, AUC: cheap, dominated, equal cost and better, as good and dearer, best, its equal
    points = [(1, 0.7), (2, 0.6), (1, 0.8), (3, 0.8), (4, 0.9), (4, 0.9)]
    assert figures.pareto_front(points) == [2, 4]
    assert figures.pareto_front([(1, 0.2), (2, 0.5), (3, 0.6)]) == [2]  # a coin is free


def test_cost_of_many_names_all_and_colours_the_front(many):
    summaries = many.evaluated.summaries()
    # The better, the dearer, but for the ten worst, which are dearer than all others.
    seconds = [40 - i if i < 10 else 1 + i for i in range(25)]
    many.table = [
        Row(
            "many",
            d.name,
            d.n,
            summary,
            TimedCounts(1, 0, 0, (seconds[i // 2] * d.n, 0, 0), 1, 1),
            [],
        )
        for i, (d, summary) in enumerate(zip(many.detectors, summaries, strict=True))
    ]
    figure = figures.cost(many)
    (axis,) = figure.axes
    rows = many.table
    points = [(row.timed.isolated[0], row.summary.auc.value) for row in rows]
    front = {rows[i].detector for i in figures.pareto_front(points)}
    assert 1 < len(front) <= 15
    names = {text.get_text(): text for text in axis.texts if text.get_text()[0] == "d"}
    assert set(names) == {d.name for d in many.detectors}
    assert {name for name, text in names.items() if text.get_color() != "0.45"} == front
    heights = sorted(text.xyann[1] for text in names.values())
    assert np.diff(heights).min() > 0.035 and heights[0] >= 0 and heights[-1] <= 1 + 1e-9
    plt.close(figure)
    many.table = rows[:2]  # no better than a coin
    plt.close(figures.cost(many))
    many.table = [SimpleNamespace(timed=None)]
    assert figures.cost(many) is None


@pytest.mark.filterwarnings("error:.*divide:RuntimeWarning")
def test_scores_without_order_are_drawn(case):
    """One detector gives every prompt the same score, the other one all but three."""
    scores = np.zeros_like(case.evaluated.scores)
    scores[1, :, -3:] = 1
    case.detectors = [Random("first", 1), Random("second", 4)]
    case.evaluated = Evaluation(scores, case.prompts.labels, case.prompts.clusters, draws=100)
    case.scores = {d.key: s for d, s in zip(case.detectors, scores, strict=True)}
    summaries = zip(case.detectors, case.evaluated.summaries(), strict=True)
    rows = [
        Row("made", d.name, d.n, s, TimedCounts(1, 0, 0, (1, 1, 1), 1, 1), [])
        for d, s in summaries
    ]
    case.table = rows
    pairs = case.evaluated.comparisons()
    found = Compared("m", "a on m", 0.01, case.detectors, case.evaluated, pairs)
    draws = (figures.roc, figures.forest, figures.distributions, figures.cost, dose_response)
    draws = [*(partial(draw, case) for draw in draws)]
    for draw in [*draws, *(partial(draw, found) for draw in figures.OF_PAIRS.values())]:
        figure = draw()
        figure.draw_without_rendering()
        plt.close(figure)


def test_names_are_spread_as_little_as_can_be():
    np.testing.assert_allclose(figures.spread([0.1, 0.5], 0.1), [0.1, 0.5])  # there is room
    np.testing.assert_allclose(figures.spread([0.5, 0.5], 0.1), [0.45, 0.55])
    np.testing.assert_allclose(figures.spread([0.2, 1.0, 1.0], 0.1), [0.2, 0.9, 1.0])
    np.testing.assert_allclose(figures.spread([0.0, 0.0, 0.9], 0.1), [0.0, 0.1, 0.9])
