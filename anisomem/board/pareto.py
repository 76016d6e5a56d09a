"""Pictures of a board: what detectors cost, and what they achieve for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from anisomem.board.cards import Card, Number
from anisomem.report import literal, style
from anisomem.report.pareto import pareto_front
from anisomem.report.style import COLOURS, GREY, MARKERS, WIDTH, logit_axis, on_logit

CAPTION = (
    "AUC against what a prompt costs: network evaluations, a directional derivative counted as"
    " two. Bars: 95% intervals. Dotted: the Pareto front, which no detector beats that costs no"
    " more; what is on it is named, all else is grey. What needs no model is not shown."
)


@dataclass(frozen=True)
class Point:
    """A card with what it costs and achieves, where both are known."""

    card: Card
    cost: float
    area: Number


def priced(cards: Sequence[Card]) -> list[Point]:
    """The cards that have a cost and an AUC."""
    return [
        Point(card, card.cost, area)
        for card in cards
        if card.cost and (area := card.measured["auc"])
    ]


def pareto(title: str, cards: Sequence[Card]) -> Figure:
    """AUC against network evaluations of a prompt, with the Pareto front.

    Arguments:
        title: Of what, which stands above it.
        cards: Cards of one model and prompt set, of which :func:`priced` has some.
    """
    points = priced(cards)
    front = pareto_front([(point.cost, point.area.value) for point in points])
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    for i, point in enumerate(points):
        if i not in front:
            _draw(axis, point, GREY, "o")
    best = [points[i] for i in front]
    names = list(dict.fromkeys(point.card.detector for point in best))
    for point in best:
        place = names.index(point.card.detector)
        label = f"{point.card.key}: {point.area.text}"
        _draw(axis, point, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], label)
    steps = [(point.cost, on_logit(point.area.value)) for point in best]
    if steps:
        axis.step(*zip(*steps, strict=True), where="post", color="0", linewidth=1, linestyle=":")
    axis.set(xscale="log", xlabel="network evaluations per prompt (a derivative counts as two)")
    logit_axis(axis, "y")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.minorticks_off()
    axis.grid(color="0.93")
    axis.set_axisbelow(True)
    figure.suptitle(title, fontsize=10)
    if steps:
        figure.legend(title="on the front", ncols=2, fontsize=8, loc="outside lower center")
    return figure


def _draw(axis: Axes, point: Point, colour: str, marker: str, label: str | None = None) -> None:
    y = on_logit(point.area.value)
    low, high = y - on_logit(point.area.low), on_logit(point.area.high) - y
    axis.errorbar(
        [point.cost],
        [y],
        yerr=[[max(0, low)], [max(0, high)]],
        color=colour,
        fmt=marker,
        markersize=5,
        elinewidth=0.9,
        zorder=3 if label else 1,
        label=label,
    )


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG; it is closed."""
    style.prepare(figure)
    content = io.BytesIO()
    with literal.quiet():
        figure.savefig(content, format="png", dpi=150)
    plt.close(figure)
    return content.getvalue()
