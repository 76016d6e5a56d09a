"""Pictures of a board: what detectors cost, and what they achieve for it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from anisomem.board.cards import Card
from anisomem.report import literal, style
from anisomem.report.figures import pareto_front
from anisomem.report.style import COLOURS, GREY, MARKERS, WIDTH, logit_axis, on_logit

CAPTION = (
    "AUC against what a prompt costs: network evaluations, a directional derivative counted as"
    " two. Bars: 95% intervals. Dotted: the Pareto front, which no detector beats that costs no"
    " more; what is on it is named, all else is grey. What needs no model is not shown."
)


def priced(cards: Sequence[Card]) -> list[tuple[Card, float, float]]:
    """The cards that have a cost and an AUC, with both."""
    return [
        (card, card.cost, area.value)
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
    front = pareto_front([(cost, area) for _, cost, area in points])
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    for i, (card, cost, _) in enumerate(points):
        if i not in front:
            _point(axis, card, cost, GREY, "o")
    colours = {}
    for i in front:
        card, cost, _ = points[i]
        place = colours.setdefault(card.detector, len(colours))
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        _point(axis, card, cost, colour, marker, f"{card.key}: {card.measured['auc'].text}")
    steps = [(points[i][1], on_logit(points[i][2])) for i in front]
    axis.step(*zip(*steps, strict=True), where="post", color="0", linewidth=1, linestyle=":")
    axis.set(xscale="log", xlabel="network evaluations per prompt (a derivative counts as two)")
    logit_axis(axis, "y")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.minorticks_off()
    axis.grid(color="0.93")
    axis.set_axisbelow(True)
    figure.suptitle(title, fontsize=10)
    figure.legend(title="on the front", ncols=2, fontsize=8, loc="outside lower center")
    return figure


def _point(
    axis: Axes, card: Card, cost: float, colour: str, marker: str, label: str | None = None
) -> None:
    area = card.measured["auc"]
    assert area is not None  # priced() has chosen it
    y = on_logit(area.value)
    ends = [[y - on_logit(area.low)], [on_logit(area.high) - y]]
    order = 3 if label else 1
    look = {"color": colour, "fmt": marker, "markersize": 5, "elinewidth": 0.9, "zorder": order}
    axis.errorbar(
        [cost], [y], yerr=[[max(0, end) for end in one] for one in ends], label=label, **look
    )


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG; it is closed."""
    style.prepare(figure)
    content = io.BytesIO()
    with literal.quiet():
        figure.savefig(content, format="png", dpi=150)
    plt.close(figure)
    return content.getvalue()
