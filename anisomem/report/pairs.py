"""Pictures of which detectors can be told apart.

Which pairs are separable is known from ``compared``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anisomem.evaluation import (
    FAMILY_LEVEL,
    NOT_SEPARABLE,
    inseparable_groups,
)
from anisomem.report.compared import Compared, Statistic
from anisomem.report.style import COLOURS, WIDTH, logit_axis, on_logit

VERDICTS = {"better": COLOURS[0], NOT_SEPARABLE: "0.85", "worse": COLOURS[1]}
OPPOSITE = {"better": "worse", "worse": "better", NOT_SEPARABLE: NOT_SEPARABLE}


@dataclass(frozen=True)
class Ranking:
    """Detectors by one statistic.

    Attributes:
        name: The name of the statistic.
        order: Indices of the detectors, the largest value first.
        values: The values by the detectors' index.
        groups: Ranks of detectors that are not separable.
    """

    name: str
    order: Sequence[int]
    values: Sequence[float]
    groups: Sequence[tuple[int, ...]]


def rankings(compared: Compared) -> list[Ranking]:
    """Ranks detectors by AUC, and by TPR where the target can be resolved."""
    return [_ranking(compared, statistic) for statistic in compared.statistics()]


def _ranking(compared: Compared, statistic: Statistic) -> Ranking:
    values = statistic.values
    order = sorted(range(len(values)), key=lambda i: -values[i])
    rank = {d: r for r, d in enumerate(order)}
    separable = [
        (rank[pair.a], rank[pair.b])
        for pair in compared.pairs
        if statistic.verdict(pair) != NOT_SEPARABLE
    ]
    groups = inseparable_groups(len(order), separable)
    return Ranking(statistic.name, order, values, groups)


def critical_difference(compared: Compared) -> Figure:
    """Detectors in the order of AUC and of TPR, with bars through those that are not separable.

    Two detectors have a dot on the same bar if and only if the paired test, adjusted by Holm's
    method, does not separate them. After Demšar, JMLR 7 (2006), with paired tests in the place
    of one critical difference.
    """
    shown = rankings(compared)
    count = len(compared.detectors)
    widths = [w for ranking in shown for w in (3.2, 0.12 * max(2, 1 + len(ranking.groups)))]
    figure, axes = plt.subplots(
        1,
        len(widths),
        figsize=(WIDTH * len(shown) / 2 + 0.5, 1.0 + 0.2 * count),
        width_ratios=widths,
        layout="constrained",
        squeeze=False,
    )
    keys = [detector.key for detector in compared.detectors]
    for i, ranking in enumerate(shown):
        _points(axes[0, 2 * i], ranking, keys)
        _bars(axes[0, 2 * i + 1], ranking.groups, count)
    figure.suptitle(
        f"{compared.title}: bars join what is not separable\n{_rule(compared)}", fontsize=9
    )
    return figure


def _rule(compared: Compared) -> str:
    """What makes a pair separable here; the table of pairs has another rule."""
    pairs = f"{len(compared.pairs)} pair" + "s" * (len(compared.pairs) != 1)
    return f"separable: p < {FAMILY_LEVEL:g} after Holm's adjustment over {pairs}"


def _points(axis: Axes, ranking: Ranking, keys: Sequence[str]) -> None:
    ranks = range(len(ranking.order))
    values = [ranking.values[d] for d in ranking.order]
    if ranking.name == "AUC":
        values = [on_logit(value) for value in values]
    axis.plot(values, ranks, "o", color=COLOURS[0], markersize=4)
    if ranking.name == "AUC":
        logit_axis(axis, "x")
    else:
        axis.set_xlabel(ranking.name)
        axis.locator_params(axis="x", nbins=6)
    axis.set_ylim(len(values) - 0.4, -0.6)
    place = axis.transData + axis.transAxes.inverted()
    for rank, (d, value) in enumerate(zip(ranking.order, values, strict=True)):
        left, number = place.transform((value, rank))[0] > 0.5, f"{ranking.values[d]:.3f}"
        axis.annotate(
            f"{keys[d]}  {number}" if left else f"{number}  {keys[d]}",
            (value, rank),
            (-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=7,
        )
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.xaxis.label.set_fontsize(8)
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    axis.spines[["left", "right", "bottom"]].set_visible(False)


def _bars(axis: Axes, groups: Sequence[Sequence[int]], count: int) -> None:
    for x, group in enumerate(groups):
        axis.plot([x, x], [group[0], group[-1]], color="0.25", linewidth=1.2)
        axis.plot([x] * len(group), group, "o", color="0.25", markersize=3.5)
    axis.set(xlim=(-0.7, max(1, len(groups)) - 0.3), ylim=(count - 0.4, -0.6))
    axis.axis("off")


def verdicts(compared: Compared) -> Figure:
    """Which detector's AUC is separably larger, for every pair, the largest AUC first."""
    ranking = rankings(compared)[0]
    keys = [compared.detectors[d].key for d in ranking.order]
    count = len(keys)
    size = 1.4 + count * (0.42 if count <= 12 else 0.3)
    figure, axis = plt.subplots(figsize=(size + 1.4, size), layout="constrained")
    rank = {d: r for r, d in enumerate(ranking.order)}
    for pair in compared.pairs:
        a, b = rank[pair.a], rank[pair.b]
        verdict, thousandths = pair.auc_verdict, round(1000 * pair.auc.difference)
        for x, y, of_row, number in (
            (b, a, verdict, thousandths),
            (a, b, OPPOSITE[verdict], -thousandths),
        ):
            axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=VERDICTS[of_row]))
            tone = "black" if of_row == NOT_SEPARABLE else "white"
            text = f"{number:+d}" if number else "0"
            axis.text(x, y, text, ha="center", va="center", fontsize=6, color=tone)
    axis.set_xticks(range(count), keys, rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(count), keys, fontsize=7)
    axis.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    figure.suptitle(
        f"{compared.title}: 1000 × (AUC of the row − the column's)\n{_rule(compared)}", fontsize=9
    )
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in VERDICTS.values()]
    axis.legend(patches, VERDICTS, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
