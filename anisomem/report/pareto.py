"""What detectors cost beside what they achieve, and which of them no other beats.

Other pictures of a case are in ``figures``.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from scipy.optimize import isotonic_regression, linear_sum_assignment

from anisomem.benchmark.results import Results, Row
from anisomem.report.colours import Colours
from anisomem.report.style import GREY, WIDTH, logit_axis, on_logit

ROOM = 0.036  # of the height of the axes, for a name beside them
RIGHT = 1.08  # where names begin, in widths of the axes
Point = tuple[float, float]


def cost(results: Results, colours: Colours) -> Figure | None:
    """AUC against seconds per ten prompts, detector alone, with the Pareto front.

    Detectors on the front are in colour, the others grey; each is named at its best n, and has a
    smaller dot at every other.
    """
    timed = [row for row in results.table if row.timed]
    scored = [(row, row.summary.auc.value) for row in timed if row.summary]
    if not scored:
        return None
    points = [(_seconds(row), area) for row, area in scored]
    front = pareto_front(points)
    winners = {scored[i][0].detector for i in front}
    figure, axis = plt.subplots(figsize=(WIDTH, 5.6), layout="constrained")
    named: dict[str, tuple[float, float, str]] = {}
    for name in dict.fromkeys(row.detector for row, _ in scored):
        own = [i for i, (row, _) in enumerate(scored) if row.detector == name]
        colour, order = (colours[name], 3) if name in winners else (GREY, 1)
        best = max(own, key=lambda i: (i in front, points[i][1]))
        for i in own:
            x, y = points[i][0], on_logit(points[i][1])
            size = 5.5 if i == best or i in front else 2.5
            axis.plot(x, y, "o", color=colour, markersize=size, zorder=order)
        x, y = points[best][0], on_logit(points[best][1])
        named[scored[best][0].key] = (x, y, colour if name in winners else "0.4")
    steps = [(points[i][0], on_logit(points[i][1])) for i in front]
    if steps:
        axis.step(*zip(*steps, strict=True), where="post", color="0", linewidth=1, linestyle=":")
    axis.set(xscale="log", xlabel="seconds per 10 prompts, detector alone")
    logit_axis(axis, "y")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.minorticks_off()
    figure.suptitle(f"{results.title}; dotted: the Pareto front", fontsize=9)
    _names_at_the_right(axis, named)
    return figure


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Indices of the (cost, AUC) points that no other beats, from the cheapest on.

    One that is as cheap and better beats, and one that is cheaper and as good; of equal points
    the first stands for all. A coin has 0.5 and costs nothing.
    """
    front: list[int] = []
    highest = 0.5
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > highest:
            front.append(i)
            highest = points[i][1]
    return front


def _seconds(row: Row) -> float:
    assert row.timed
    return row.timed.isolated[0]


def _names_at_the_right(axis: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Names in a column outside the axes, each led to its point, no two of the lines crossing.

    Arguments:
        axis: The axis with its final limits.
        ends: Name to x, y and colour.
    """
    place = axis.transData + axis.transAxes.inverted()
    points = [tuple(place.transform((x, y))) for x, y, _ in ends.values()]
    for (name, (x, y, colour)), height in zip(ends.items(), heights(points), strict=True):
        axis.annotate(
            name,
            (x, y),
            (RIGHT, height),
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.55,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def heights(points: Sequence[Point]) -> list[float]:
    """Where names stand beside points, so that the lines that lead to them do not cross.

    Of all ways to give the places to the points, the one with the shortest lines: two that cross
    would be longer than the two that do not.

    Arguments:
        points: In widths and heights of the axes.
    """
    gap = min(ROOM, 1 / max(1, len(points) - 1))
    places = np.array(spread(sorted(y for _, y in points), gap))
    x, y = np.array(points).T
    lengths = np.hypot(RIGHT - x[:, None], places - y[:, None])
    _, chosen = linear_sum_assignment(lengths)
    found: list[float] = places[chosen].tolist()
    return found


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions from 0 to 1 that are ``gap`` apart, as near to the wanted ones as can be.

    In least squares; they are wanted in rising order, and have room.
    """
    steps = gap * np.arange(len(wanted))
    fitted = isotonic_regression(np.asarray(wanted) - steps).x
    placed: list[float] = (np.clip(fitted, 0, 1 - steps[-1]) + steps).tolist()
    return placed
