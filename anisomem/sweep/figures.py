"""Pictures of the sweeps, in the style of a run's.

The numbers are from the files of the sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from anisomem.detection.anisotropy import COSINES
from anisomem.detection.base import Array
from anisomem.evaluation import Estimate, Summary
from anisomem.report.style import AREAS, COLOURS, MARKERS, WIDTH, logit_axis, on_logit
from anisomem.report.tables import percent
from anisomem.sweep.result import Line, Map

Read = Callable[[Summary], Estimate | None]


def statistics(summary: Summary) -> dict[str, Read]:
    """The two that figures show: AUC, and the TPR at the first target."""
    target = next(iter(summary.tpr))
    return {"AUC": lambda s: s.auc, f"TPR@{percent(target)}FPR": lambda s: s.tpr[target]}


def forest(
    title: str, lines: Sequence[Line], seeds: Mapping[str, Sequence[Mapping[str, float]]] = {}
) -> Figure:
    """AUC and TPR with 95% intervals: a row per value, a colour per weighting or detector.

    Arguments:
        title: The case's title.
        lines: The lines of this case; the last of several headings of their place has the colour.
        seeds: The numbers of single noise seeds by row, drawn as ticks where a panel has some.
    """
    rows = list(dict.fromkeys(_row(line) for line in lines))
    series = list(dict.fromkeys(_series(line) for line in lines))
    height = 1.1 + 0.13 * len(rows) * (len(series) + 1.5)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, layout="constrained")
    keys = ("auc", f"tpr_at_fpr_{next(iter(lines[0].summary.tpr)):g}")
    panels = zip(axes, keys, statistics(lines[0].summary).items(), strict=True)
    for axis, key, (name, read) in panels:
        for line in lines:
            s = series.index(_series(line))
            y = rows.index(_row(line)) + (s - (len(series) - 1) / 2) / (len(series) + 1.5)
            _interval(axis, read(line.summary), y, COLOURS[s % len(COLOURS)], MARKERS[s])
            for value in (seed[key] for seed in seeds.get(_row(line), ()) if key in seed):
                at = on_logit(value) if axis is axes[0] else value
                axis.plot(at, y + 0.25, "|", color="0.3", markersize=5, markeredgewidth=0.7)
        axis.set(xlabel=name)
        axis.grid(axis="x", color="0.9")
        axis.tick_params(axis="x", labelsize=8)
    logit_axis(axes[0], "x")
    headings = list(lines[0].place)
    axes[0].set_ylabel(", ".join(headings[:-1] or headings), fontsize=9)
    words = [f"{row}\n{COSINES[row]}" if row in COSINES else row for row in rows]
    axes[0].set_yticks(range(len(rows)), words, fontsize=8)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(f"{title}, 95% intervals", fontsize=10)
    handles = [
        plt.Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i], markersize=4)
        for i in range(len(series))
    ]
    if len(series) > 1:
        figure.legend(handles, series, fontsize=8, ncols=5, loc="outside lower center")
    return figure


def _row(line: Line) -> str:
    values = list(line.place.values())
    return ", ".join(values[:-1] or values)


def _series(line: Line) -> str:
    """Empty where there is one heading, whose values are the rows."""
    return list(line.place.values())[-1] if len(line.place) > 1 else ""


def _interval(axis: Axes, estimate: Estimate | None, y: float, colour: str, marker: str) -> None:
    if estimate is None:
        axis.text(0.5, y, "not resolvable", fontsize=6, va="center", ha="center")
        return
    interval = estimate.interval
    axis.plot(
        [on_logit(interval.low), on_logit(interval.high)], [y, y], color=colour, linewidth=1.3
    )
    axis.plot(on_logit(estimate.value), y, marker, color=colour, markersize=3.5)


def gamma(
    title: str,
    ratios: Sequence[float],
    curve: Sequence[Summary],
    marks: Sequence[tuple[str, float]],
    summaries: Sequence[Summary],
) -> Figure:
    """AUC and TPR by the ratio of the weights, with pointwise bands and the ratios with a name.

    Arguments:
        title: The case's title.
        ratios: gamma_cos / gamma_norm, from minus infinity to infinity.
        curve: What each achieves.
        marks: Name and ratio of the weights that have a name, the model's own first.
        summaries: What they achieve.
    """
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.4), sharex=True, layout="constrained")
    edge = max(g for g in ratios if np.isfinite(g))
    least = min(g for g in ratios if g > 0)
    x = np.clip(ratios, -edge * 5, edge * 5)
    for axis, (name, read) in zip(axes, statistics(curve[0]).items(), strict=True):
        axis.set(ylabel=name)
        if read(curve[0]) is None:
            axis.text(0.5, 0.5, "not resolvable", transform=axis.transAxes, ha="center")
            continue
        _band(axis, x, curve, read, COLOURS[0], "-", None)
        for i, ((label, ratio), summary) in enumerate(zip(marks, summaries, strict=True)):
            estimate = read(summary)
            assert estimate is not None
            x_of_mark = np.clip(ratio, -edge * 5, edge * 5)
            colour, marker = COLOURS[1 + i % (len(COLOURS) - 1)], MARKERS[i % len(MARKERS)]
            size = 9 if i == 0 else 7
            axis.plot(
                x_of_mark,
                on_logit(estimate.value) if axis is axes[0] else estimate.value,
                marker,
                color=colour,
                markersize=size,
                label=label,
                markeredgecolor="white",
                markeredgewidth=0.6,
                zorder=4,
            )
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
    logit_axis(axes[0], "y")
    ticks = [10.0**k for k in range(int(np.log10(least)), int(np.log10(edge)) + 1, 1)]
    axes[1].set_xscale("symlog", linthresh=least, linscale=0.8)
    positions = [-edge * 5, *(-t for t in reversed(ticks)), 0, *ticks, edge * 5]
    names = [f"{t:g}" for t in positions[1:-1]]
    axes[1].set_xticks(positions, ["−cos", *names, "cos"], fontsize=7, rotation=45)
    axes[1].set_xlim(-edge * 8, edge * 8)
    axes[1].minorticks_off()
    label = r"$\gamma_\mathrm{cos} / \gamma_\mathrm{norm}$  (0: the norm alone)"
    axes[1].set_xlabel(label, parse_math=True)
    figure.suptitle(f"{title}, pointwise 95% bands", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncols=3, loc="outside lower center")
    return figure


def terms(title: str, by_term: Mapping[str, Sequence[Summary]]) -> Figure:
    """AUC and TPR of each term alone by the step that it is read at, with pointwise bands."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")
    first = next(iter(by_term.values()))[0]
    for axis, (name, read) in zip(axes, statistics(first).items(), strict=True):
        axis.set(xlabel="step (0: noisiest, 49: cleanest)", ylabel=name)
        axis.grid(color="0.92")
        if read(first) is None:
            axis.text(0.5, 0.5, "not resolvable", transform=axis.transAxes, ha="center")
            continue
        for i, (term, summaries) in enumerate(by_term.items()):
            steps = np.arange(len(summaries))
            _band(axis, steps, summaries, read, COLOURS[i], ("-", "--")[i], f"{term} alone")
    axes[0].axhline(0.5, color="0.6", linewidth=0.8)
    logit_axis(axes[0], "y")
    figure.suptitle(f"{title}, pointwise 95% bands", fontsize=10)
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower center"
    )
    return figure


def _band(
    axis: Axes,
    x: Any,
    curve: Sequence[Summary],
    read: Read,
    colour: str,
    line: str,
    label: str | None,
) -> None:
    """A curve with its pointwise intervals, all resolvable."""
    estimates = [estimate for summary in curve if (estimate := read(summary))]
    low, high = (
        [on_logit(getattr(e.interval, end)) for e in estimates] for end in ("low", "high")
    )
    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(
        x, [on_logit(e.value) for e in estimates], line, color=colour, linewidth=1.4, label=label
    )


def heat_maps(
    title: str, maps: Sequence[Map], places: Mapping[str, tuple[int, int]], rate: str
) -> Figure:
    """AUC and TPR of every pair of steps, a line of panels per weighting."""
    figure, axes = plt.subplots(
        len(maps), 2, figsize=(WIDTH, 3.1 * len(maps)), layout="constrained", squeeze=False
    )
    for row_axes, one in zip(axes, maps, strict=True):
        for axis, name, values in zip(row_axes, ("AUC", rate), (one.auc, one.tpr), strict=True):
            axis.set_title(f"{name}, {one.weights} weights", fontsize=9, pad=9)
            axis.set_xlabel("cosine's step", fontsize=8)
            axis.set_ylabel("norm's step", fontsize=8)
            axis.tick_params(labelsize=7)
            if values is None:
                axis.text(0.5, 0.5, "not resolvable", transform=axis.transAxes, ha="center")
                continue
            _map(figure, axis, values, places, by_errors=name == "AUC")
    figure.suptitle(f"{title}, steps of the 50-step schedule (0: noisiest)", fontsize=10)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower center"
    )
    return figure


def _map(
    figure: Figure,
    axis: Axes,
    values: Array,
    places: Mapping[str, tuple[int, int]],
    by_errors: bool,
) -> None:
    """One map; arrows above it point down to the columns with a name, which are in row 0.

    Arguments:
        by_errors: Colours follow the log of 1 - value, so that values near 1 can be told apart.
    """
    norm = None
    if by_errors and np.ptp(values):
        norm = FuncNorm((_nines, _not_nines), values.min(), values.max())
    image = axis.imshow(values, cmap="cividis", norm=norm, interpolation="nearest")
    axis.autoscale(False)
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.ax.tick_params(labelsize=7)
    if norm:
        ticks = [t for t in AREAS if values.min() <= t <= values.max()]
        if len(ticks) < 3:
            ticks = np.linspace(values.min(), values.max(), 6)[1:-1].round(4).tolist()
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    for colour, (label, (_, j)) in zip(("black", "white"), places.items(), strict=True):
        axis.plot(
            j,
            -1.7,
            "v",
            color=colour,
            markeredgecolor="black",
            markersize=5,
            clip_on=False,
            label=label,
        )


def _nines(value: Any) -> Any:
    return -np.log(1.001 - value)


def _not_nines(value: Any) -> Any:
    return 1.001 - np.exp(-value)


def matrix(lines: Sequence[Line]) -> Figure:
    """AUC and TPR of weights from one source (down) on each case's prompts (across)."""
    tested = list(dict.fromkeys(line.case for line in lines))
    sources = list(dict.fromkeys(line.place["weights"] for line in lines))
    size = (WIDTH, 1.6 + 0.42 * len(sources))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    for axis, (name, read) in zip(axes, statistics(lines[0].summary).items(), strict=True):
        values = np.full((len(sources), len(tested)), np.nan)
        for line in lines:
            if estimate := read(line.summary):
                values[sources.index(line.place["weights"]), tested.index(line.case)] = (
                    estimate.value
                )
        image = axis.imshow(values, cmap="cividis", aspect="auto")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2 if np.isfinite(values).any() else 0
        for (i, j), value in np.ndenumerate(values):
            tone = "white" if value < middle else "black"
            text = "n/a" if np.isnan(value) else f"{value:.3f}"
            axis.text(j, i, text, ha="center", va="center", fontsize=8, color=tone)
        axis.set_xticks(range(len(tested)), tested, fontsize=8, rotation=20, ha="right")
        axis.set_title(f"{name}, tested on", fontsize=9)
        figure.colorbar(image, ax=axis).ax.tick_params(labelsize=7)
    axes[0].set_yticks(range(len(sources)), sources, fontsize=8)
    return figure
