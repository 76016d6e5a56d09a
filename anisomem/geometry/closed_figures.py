"""Pictures of the closed-form models.

The numbers are from ``dials`` and ``tightness``; pictures of recorded models are in ``figures``.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from anisomem.geometry import dials, tightness
from anisomem.report.style import COLOURS, WIDTH


def over_dials(cells: Sequence[dials.Record]) -> Figure:
    """AUC of every measure over both dials, by timestep and input."""
    places = [(t, on) for t in (dials.HIGH, dials.LOW) for on in dials.INPUTS]
    shape = (len(dials.MEASURES), len(places))
    figure, axes = plt.subplots(*shape, figsize=(WIDTH, 6.6), layout="constrained", sharex=True)
    for row_axes, measure in zip(axes, dials.MEASURES, strict=True):
        for axis, (t, on) in zip(row_axes, places, strict=True):
            values = np.reshape(
                [c.auc for c in cells if (c.measure, c.t, c.on) == (measure, t, on)],
                (len(dials.CONDITION_NUMBERS), len(dials.SHRINKAGES)),
            )
            image = axis.imshow(values, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
            for (y, x), value in np.ndenumerate(values):
                colour = "white" if abs(value - 0.5) > 0.35 else "black"
                axis.text(x, y, f"{value:.2f}", fontsize=5, ha="center", va="center", color=colour)
            axis.set_xticks(
                range(values.shape[1]), [f"{s:g}" for s in dials.SHRINKAGES], fontsize=6
            )
            axis.set_yticks([])
            if measure == dials.MEASURES[0]:
                axis.set_title(f"t = {t}, {on}", fontsize=8)
        ticks = [f"{chi:g}" for chi in dials.CONDITION_NUMBERS]
        row_axes[0].set_yticks(range(len(ticks)), ticks, fontsize=6)
        row_axes[0].set_ylabel(f"{measure}\ncondition number", fontsize=7)
    figure.supxlabel("shrinkage of memorized components (1: no memorization)", fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.4, label="AUC").ax.tick_params(labelsize=7)
    figure.suptitle("Closed-form mixtures: AUC over anisotropy and memorization", fontsize=10)
    return figure


def theorem(cells: Sequence[tightness.Cell]) -> Figure:
    """Cosine and both bounds by displacement, one panel for each condition number."""
    figure, axes = plt.subplots(
        1, len(tightness.CHIS), figsize=(WIDTH, 3.2), layout="constrained", sharey=True
    )
    shrinkages = (0.01, 0.3, 0.8)
    for axis, chi in zip(axes, tightness.CHIS, strict=True):
        for i, shrinkage in enumerate(shrinkages):
            own = [c for c in cells if (c.chi, c.shrinkage) == (chi, shrinkage)]
            x = [c.displacement for c in own]
            label = f"shrinkage {shrinkage:g}"
            axis.plot(x, [c.cosine for c in own], "o-", ms=3, color=COLOURS[i], label=label)
            speaking = [c for c in own if c.speaks == 1]
            x = [c.displacement for c in speaking]
            axis.plot(x, [c.sharp for c in speaking], "--", color=COLOURS[i], linewidth=1)
            axis.plot(x, [c.paper for c in speaking], ":", color=COLOURS[i], linewidth=1)
        axis.set_title(f"condition number {chi:g}", fontsize=8)
        axis.grid(color="0.92")
        axis.axvline(1, color="0.6", linewidth=0.8)
    axes[0].set_ylabel("cos(u, c − u), mean", fontsize=8)
    axes[1].set_xlabel("displacement (1: a typical picture)", fontsize=8)
    for style, name in (("--", "√(1 − r²)"), (":", "(1 − r)/(1 + r)")):
        axes[0].plot([], [], style, color="0.3", label=f"{name}, where r < 1 everywhere")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncols=3, loc="outside lower center")
    figure.suptitle("The theorem on Gaussian pairs, pure noise, t = 41", fontsize=10)
    return figure
