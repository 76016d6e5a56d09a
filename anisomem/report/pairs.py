"""Pictures of which detectors can be told apart.

Which pairs are separable is known from ``compared``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from anisomem.evaluation import (
    FAMILY_LEVEL,
    NOT_SEPARABLE,
    inseparable_groups,
)
from anisomem.report.colours import Colours
from anisomem.report.compared import Compared, Statistic
from anisomem.report.style import COLOURS, WIDTH, logit_axis, on_logit

FEW = 12  # detectors, of which every pair can be shown with what it says; more are grouped
VERDICTS = {"better": COLOURS[0], NOT_SEPARABLE: "0.85", "worse": COLOURS[1]}
OPPOSITE = {"better": "worse", "worse": "better", NOT_SEPARABLE: NOT_SEPARABLE}


@dataclass(frozen=True)
class Ranking:
    """Detectors by one statistic.

    Attributes:
        name: The name of the statistic.
        order: Indices of the detectors, the largest value first.
        values: The values by the detectors' index.
        separable: Pairs of indices of detectors that are told apart, the smaller one first.
    """

    name: str
    order: Sequence[int]
    values: Sequence[float]
    separable: Collection[tuple[int, int]]

    def bars(self) -> list[tuple[int, ...]]:
        """Ranks of detectors without a separable pair; two share a bar if they are none."""
        rank = {d: r for r, d in enumerate(self.order)}
        pairs = [(rank[a], rank[b]) for a, b in self.separable]
        return inseparable_groups(len(self.order), pairs)

    def tiers(self) -> list[list[int]]:
        """Detectors in groups: the best of those left, and what is not separable from it."""
        left, found = list(self.order), []
        while left:
            first = left[0]
            tier = [d for d in left if (min(first, d), max(first, d)) not in self.separable]
            found.append(tier)
            left = [d for d in left if d not in tier]
        return found


def rankings(compared: Compared) -> list[Ranking]:
    """Ranks detectors by AUC, and by TPR where the target can be resolved."""
    return [_ranking(compared, statistic) for statistic in compared.statistics()]


def _ranking(compared: Compared, statistic: Statistic) -> Ranking:
    values = statistic.values
    order = sorted(range(len(values)), key=lambda i: -values[i])
    separable = {
        (min(pair.a, pair.b), max(pair.a, pair.b))
        for pair in compared.pairs
        if statistic.verdict(pair) != NOT_SEPARABLE
    }
    return Ranking(statistic.name, order, values, separable)


def critical_difference(compared: Compared, colours: Colours) -> Figure:
    """Detectors in the order of AUC and of TPR, and which of them are not separable.

    Of a few, two have a dot on the same bar if and only if the paired test, adjusted by Holm's
    method, does not separate them. After Demšar, JMLR 7 (2006), with paired tests in the place
    of one critical difference. Of many they are in groups, :meth:`Ranking.tiers`.
    """
    shown = rankings(compared)
    count = len(compared.detectors)
    few = count <= FEW
    bars = [ranking.bars() if few else [] for ranking in shown]
    widths = [w for own in bars for w in (3.2, 0.12 * max(2, 1 + len(own)))]
    figure, axes = plt.subplots(
        1,
        len(widths),
        figsize=(WIDTH * len(shown) / 2 + 0.5, 1.0 + 0.2 * count),
        width_ratios=widths,
        layout="constrained",
        squeeze=False,
    )
    keys = [detector.key for detector in compared.detectors]
    dots = [colours[detector.name] for detector in compared.detectors]
    for i, (ranking, own) in enumerate(zip(shown, bars, strict=True)):
        left, right = axes[0, 2 * i], axes[0, 2 * i + 1]
        order = ranking.order if few else [d for tier in ranking.tiers() for d in tier]
        _points(left, ranking, order, keys, dots)
        if few:
            _bars(right, own, count)
        else:
            _groups((left, right), ranking.tiers(), count)
    told = "bars join what is not separable" if few else "groups not separable from their first"
    figure.suptitle(f"{compared.title}: {told}\n{_rule(compared)}", fontsize=9)
    return figure


def _rule(compared: Compared) -> str:
    """What makes a pair separable here; the table of pairs has another rule."""
    pairs = f"{len(compared.pairs)} pair" + "s" * (len(compared.pairs) != 1)
    rule = f"separable: p < {FAMILY_LEVEL:g} after Holm's adjustment over {pairs}"
    return compared.undecided or rule


def _points(
    axis: Axes,
    ranking: Ranking,
    order: Sequence[int],
    keys: Sequence[str],
    colours: Sequence[str],
) -> None:
    values = [ranking.values[d] for d in order]
    if ranking.name == "AUC":
        values = [on_logit(value) for value in values]
    for rank, (d, value) in enumerate(zip(order, values, strict=True)):
        axis.plot(value, rank, "o", color=colours[d], markersize=4)
    if ranking.name == "AUC":
        logit_axis(axis, "x")
    else:
        axis.set_xlabel(ranking.name)
        axis.locator_params(axis="x", nbins=6)
    axis.set_ylim(len(values) - 0.4, -0.6)
    place = axis.transData + axis.transAxes.inverted()
    for rank, (d, value) in enumerate(zip(order, values, strict=True)):
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


def _groups(axes: Sequence[Axes], tiers: Sequence[Sequence[int]], count: int) -> None:
    """Every other group shaded through both axes, and numbered in the second."""
    first = 0
    for i, tier in enumerate(tiers):
        for axis in axes:
            if i % 2 == 0:
                axis.axhspan(first - 0.5, first + len(tier) - 0.5, color="0.93", zorder=0, lw=0)
        middle = first + (len(tier) - 1) / 2
        axes[1].text(0.5, middle, str(i + 1), fontsize=8, ha="center", va="center", color="0.25")
        first += len(tier)
    axes[1].set(xlim=(0, 1), ylim=(count - 0.4, -0.6))
    axes[1].axis("off")


def verdicts(compared: Compared, colours: Colours) -> Figure:
    """Which detector's AUC is separably larger, for every pair, the largest AUC first.

    Of a few with the difference; of many in the groups of :func:`critical_difference`. Colours
    say the verdict; those of the detectors mark their names.
    """
    ranking = rankings(compared)[0]
    few = len(compared.detectors) <= FEW
    tiers = [list(ranking.order)] if few else ranking.tiers()
    order = [d for tier in tiers for d in tier]
    keys, count = [compared.detectors[d].key for d in order], len(order)
    size = 1.4 + count * (0.42 if few else 0.21)
    figure, axis = plt.subplots(figsize=(size + 0.6, size + 0.5), layout="constrained")
    rank = {d: r for r, d in enumerate(order)}
    for pair in compared.pairs:
        a, b = rank[pair.a], rank[pair.b]
        verdict, thousandths = pair.auc_verdict, round(1000 * pair.auc.difference)
        for x, y, of_row, number in (
            (b, a, verdict, thousandths),
            (a, b, OPPOSITE[verdict], -thousandths),
        ):
            face = {"facecolor": VERDICTS[of_row], "edgecolor": "white", "linewidth": 0.4}
            axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, **face))
            if few:
                tone = "black" if of_row == NOT_SEPARABLE else "white"
                text = f"{number:+d}" if number else "0"
                axis.text(x, y, text, ha="center", va="center", fontsize=6, color=tone)
    edge = -0.5
    for tier in tiers[:-1]:
        edge += len(tier)
        axis.axhline(edge, color="black", linewidth=0.8)
        axis.axvline(edge, color="black", linewidth=0.8)
    axis.set_xticks(range(count), keys, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(count), keys)
    axis.tick_params(labelsize=7)
    for of_axis in (axis.xaxis, axis.yaxis):
        for d, tick in zip(order, of_axis.get_major_ticks(), strict=True):
            tick.tick1line.set(markeredgecolor=colours[compared.detectors[d].name], markersize=6)
            tick.tick1line.set_markeredgewidth(3)
    axis.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axis.set(xlabel="detector of the column", ylabel="detector of the row")
    what = "1000 × (AUC of the row − the column's)" if few else "AUC of the row and the column's"
    figure.suptitle(f"{compared.title}: {what}\n{_rule(compared)}", fontsize=9)
    figure.legend(
        [Patch(color=colour) for colour in VERDICTS.values()],
        [f"row {verdict}" if verdict in ("better", "worse") else verdict for verdict in VERDICTS],
        fontsize=8,
        ncols=3,
        loc="outside lower center",
    )
    return figure
