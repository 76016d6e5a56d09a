"""The figures of a scan: its scores beside ordinary ones, and a curve over checkpoints."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from anisomem.evaluation.estimates import Estimate
from anisomem.report.style import COLOURS, MARKERS, WIDTH
from anisomem.report.tables import percent
from anisomem.scan.found import Found

BINS = 50


def histogram(found: Found) -> Figure:
    """Densities of both, with the threshold and the least score that is flagged."""
    scanned, ordinary = found.deciding[found.scored], found.calibration
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    edges = np.histogram_bin_edges(np.concatenate([scanned, ordinary]), BINS)
    for values, name, colour in (
        (ordinary, f"{len(ordinary):,} ordinary prompts", COLOURS[0]),
        (scanned, f"{len(scanned):,} scanned prompts", COLOURS[1]),
    ):
        axis.hist(
            values,
            edges,
            density=True,
            histtype="stepfilled",
            alpha=0.45,
            color=colour,
            label=name,
        )
    if found.threshold:
        rate = percent(found.threshold.rate)
        axis.axvline(found.threshold.value, color="0.2", label=f"exceeded by {rate} of ordinary")
    if found.flagged.any():
        least = float(found.deciding[found.flagged].min())
        rate = percent(found.scan.config.fdr)
        axis.axvline(least, color="0.2", linestyle="--", label=f"flagged from here, FDR {rate}")
    axis.set(xlabel=found.scan.deciding.key, ylabel="density")
    axis.set_yticks([])
    axis.legend(fontsize=8)
    figure.suptitle(found.scan.title, fontsize=10)
    return figure


def curve(
    names: Sequence[str], series: Mapping[str, Sequence[Estimate | None]], title: str
) -> Figure:
    """Shares by checkpoint with 95% intervals.

    Arguments:
        names: The checkpoints, in their order.
        series: The shares by what they are of; None where there is none.
        title: Above it.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for k, (label, estimates) in enumerate(series.items()):
        known = [(i, one) for i, one in enumerate(estimates) if one]
        if not known:
            continue
        x = np.array([i for i, _ in known]) + 0.06 * (k - (len(series) - 1) / 2)
        y = np.array([100 * one.value for _, one in known])
        low = np.array([100 * one.interval.low for _, one in known])
        high = np.array([100 * one.interval.high for _, one in known])
        axis.errorbar(
            x,
            y,
            [y - low, high - y],
            marker=MARKERS[k],
            markersize=5,
            capsize=3,
            color=COLOURS[k],
            label=label,
        )
    longest = max(map(len, names)) * len(names)
    axis.set_xticks(range(len(names)), names, rotation=0 if longest < 60 else 30, fontsize=8)
    if longest >= 60:
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    axis.set(xlabel="checkpoint", ylabel="share of prompts, %", xlim=(-0.4, len(names) - 0.6))
    axis.set_ylim(bottom=0)
    axis.grid(axis="y", color="0.9")
    axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
