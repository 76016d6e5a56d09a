"""Pictures of a trial: copying against fidelity and time, and the pictures themselves.

The numbers are from ``results``, the tables in ``report``.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from anisomem.report.colours import colours
from anisomem.report.style import GREY, WIDTH
from anisomem.report.tables import percent
from anisomem.tradeoff.results import GROUPS, Estimates, TradeoffResults

MARKERS = "osD^vPX<>hdpH8"  # one a family, in turn; a star is sampling without a mitigation


def family(node: Mapping[str, Any]) -> str:
    """What mitigations of one kind share: the file of the class, of the inner one if it has one.

    Arguments:
        node: The settings of a mitigation.
    """
    for inner in node.values():
        if isinstance(inner, Mapping) and "_target_" in inner:
            return family(inner)
    parts: list[str] = str(node["_target_"]).split(".")
    return parts[-2]


def looks(results: TradeoffResults) -> dict[str, dict[str, Any]]:
    """How figures draw each method: a colour of its own, and the shape of its family."""
    families = {
        name: family(results.settings[settings[0]].node)
        for name, settings in results.methods.items()
    }
    shapes = list(dict.fromkeys(families.values()))
    return {
        name: {
            "color": colour,
            "marker": MARKERS[shapes.index(families[name]) % len(MARKERS)],
            "markersize": 5,
            "linewidth": 1.2,
        }
        for name, colour in colours(families).items()
    }


def tradeoff(results: TradeoffResults) -> Figure:
    """Copying against fidelity, and against seconds for a picture, a line for each method."""
    copying, fidelity = results.primary("copying"), results.primary("fidelity")
    assert copying is not None
    assert fidelity is not None
    y, x = results.estimates_of(copying, GROUPS[0]), results.estimates_of(fidelity, GROUPS[0])
    assert y is not None
    assert x is not None
    total = results.sampled["mitigation_seconds"] + results.sampled["sampling_seconds"]
    seconds = np.median(total[:, results.prompts.labels == 1], axis=(1, 2))
    figure, axes = plt.subplots(
        1, 2, figsize=(1.5 * WIDTH, 4.6), sharey=True, layout="constrained"
    )
    plain = results.settings.index(results.trial.plain)
    for name, look in looks(results).items():
        settings = results.methods[name]
        curve = [plain, *settings]
        axes[0].plot(x.values[curve], y.values[curve], label=name, **look)
        for k in settings:
            _cross(axes[0], x, y, k, look["color"])
        axes[1].plot(seconds[settings], y.values[settings], **look)
    for axis, across in ((axes[0], x.values), (axes[1], seconds)):
        axis.plot(across[plain], y.values[plain], "k*", ms=11, label="no mitigation", zorder=5)
        axis.grid(color="0.93", which="both")
    axes[0].set(xlabel=f"{fidelity.name}, memorized prompts")
    axes[1].set(xlabel="seconds for a picture of a memorized prompt", xscale="log")
    axes[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[1].xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel(f"{copying.name}, memorized prompts")
    axes[0].set_title("better: lower right", fontsize=9)
    axes[1].set_title("better: lower left", fontsize=9)
    for axis, shown in ((axes[0].xaxis, fidelity), (axes[0].yaxis, copying)):
        if shown.percent:
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(f"{results.trial.title}; equal shapes are of one family", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, fontsize=8, loc="outside lower center")
    return figure


def _cross(axis: Axes, x: Estimates, y: Estimates, k: int, colour: str) -> None:
    """The 95% intervals of a point."""
    across, up = x.interval(k), y.interval(k)
    faint: dict[str, Any] = {"color": colour, "alpha": 0.25, "linewidth": 0.8, "zorder": 1}
    axis.plot([across.low, across.high], [y.values[k]] * 2, **faint)
    axis.plot([x.values[k]] * 2, [up.low, up.high], **faint)


def sheet(results: TradeoffResults, loss: float) -> Figure:
    """Training picture, unmitigated picture, and each method's, for some prompts."""
    trial, shown = results.trial, results.chosen(loss)
    count = trial.config.trial.sheet
    chosen = [
        int(p)
        for value in (1, 0)
        for p in np.flatnonzero(results.prompts.labels == value)[: count if value else count // 2]
    ]
    columns = [trial.plain, *shown.values()]
    across, down = 1 + len(columns), len(chosen)
    size = (0.95 * across + 1.5, 0.95 * down + 1)
    figure, axes = plt.subplots(
        down,
        across,
        figsize=size,
        squeeze=False,
        gridspec_kw={
            "wspace": 0.06,
            "hspace": 0.06,
            "left": 1.4 / size[0],
            "right": 1 - 0.1 / size[0],
            "top": 1 - 0.9 / size[1],
            "bottom": 0.1 / size[1],
        },
    )
    for row_axes, p in zip(axes, chosen, strict=True):
        known = trial.references.pictures.get(results.prompts.ids[p])
        pictures = [known[0] if known else None]
        pictures += [trial.pictures(setting, results.rows[p])[0] for setting in columns]
        for axis, picture in zip(row_axes, pictures, strict=True):
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(color=GREY, linewidth=0.5, visible=picture is not None)
            if picture is not None:
                axis.imshow(picture, interpolation="nearest")
        word = "memorized" if results.prompts.labels[p] else "other"
        row_axes[0].set_ylabel(
            f"{_wrapped(results.prompts.texts[p])}\n({word})",
            rotation=0,
            ha="right",
            va="center",
            fontsize=6,
        )
    labels = (fill(s.name.replace("_", " "), 12) + f"\n{s.strength}" for s in columns)
    titles = ["training\npicture", *labels]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=6)
    figure.suptitle(
        f"{trial.title}, noise seed {trial.seeds[0]}; each method at the setting that copies least"
        f" while at most {percent(loss)} of the fidelity is lost, or its weakest",
        fontsize=8,
        y=1 - 0.15 / size[1],
    )
    return figure


def _wrapped(text: str) -> str:
    return fill(text, 22, max_lines=3, placeholder="…")
