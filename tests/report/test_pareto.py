"""The figure of costs, from cases made by hand."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from anisomem.benchmark.results import Row
from anisomem.engine.cost import TimedCounts
from anisomem.report import pareto
from anisomem.report.colours import colours_of


def test_pareto_front_by_hand():
    # seconds, AUC: cheap, dominated, equal cost and better, as good and dearer, best, its equal
    points = [(1, 0.7), (2, 0.6), (1, 0.8), (3, 0.8), (4, 0.9), (4, 0.9)]
    assert pareto.pareto_front(points) == [2, 4]
    assert pareto.pareto_front([(1, 0.2), (2, 0.5), (3, 0.6)]) == [2]  # a coin is free


@pytest.fixture
def timed(many):
    """The better, the dearer, but for the ten worst, which are dearer than all others."""
    seconds = [40 - i if i < 10 else 1 + i for i in range(25)]
    many.table = [
        Row("many", d.name, d.n, s, TimedCounts(1, 0, 0, (seconds[i // 2] * d.n, 0, 0), 1, 1), [])
        for i, (d, s) in enumerate(zip(many.detectors, many.evaluated.summaries(), strict=True))
    ]
    return many


def test_cost_of_many_names_all_and_colours_the_front(timed):
    colours = colours_of([timed])
    figure = pareto.cost(timed, colours)
    (axis,) = figure.axes
    rows = timed.table
    points = [(row.timed.isolated[0], row.summary.auc.value) for row in rows]
    front = {rows[i].detector for i in pareto.pareto_front(points)}
    assert 1 < len(front) <= 15
    names = {text.get_text().partition(", n=")[0]: text for text in axis.texts}
    assert set(names) == {d.name for d in timed.detectors}
    in_colour = {name for name, text in names.items() if text.get_color() == colours[name]}
    assert in_colour == front
    heights = sorted(text.xyann[1] for text in names.values())
    assert np.diff(heights).min() > 0.035 and heights[0] >= 0 and heights[-1] <= 1 + 1e-9
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert len(dots) == len(rows)  # every n of every detector
    assert {to_hex(dot.get_color()) for dot in dots} & set(colours.values()) == {
        colours[name] for name in front
    }
    plt.close(figure)
    timed.table = rows[:2]  # no better than a coin
    plt.close(pareto.cost(timed, colours))
    timed.table = [SimpleNamespace(timed=None)]
    assert pareto.cost(timed, colours) is None


def _cross(a, b, c, d):
    """Whether the open segments from a to b and from c to d have a point in common."""

    def side(p, q, r):
        return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def test_lines_to_names_do_not_cross(timed):
    figure = pareto.cost(timed, colours_of([timed]))
    (axis,) = figure.axes
    place = axis.transData + axis.transAxes.inverted()
    lines = [(tuple(place.transform(text.xy)), tuple(text.xyann)) for text in axis.texts]
    assert len(lines) == 25
    assert not any(_cross(*one, *other) for one, other in combinations(lines, 2))
    plt.close(figure)
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = [(float(x), float(y)) for x, y in rng.uniform(size=(30, 2)) ** [1, 0.2]]
        ends = [(pareto.RIGHT, height) for height in pareto.heights(points)]
        pairs = combinations(zip(points, ends, strict=True), 2)
        assert not any(_cross(*one, *other) for one, other in pairs)


def test_names_are_spread_as_little_as_can_be():
    np.testing.assert_allclose(pareto.spread([0.1, 0.5], 0.1), [0.1, 0.5])  # there is room
    np.testing.assert_allclose(pareto.spread([0.5, 0.5], 0.1), [0.45, 0.55])
    np.testing.assert_allclose(pareto.spread([0.2, 1.0, 1.0], 0.1), [0.2, 0.9, 1.0])
    np.testing.assert_allclose(pareto.spread([0.0, 0.0, 0.9], 0.1), [0.0, 0.1, 0.9])
