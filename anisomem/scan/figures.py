"""The figure of a scan: its scores beside those of ordinary prompts."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from anisomem.report.style import COLOURS, WIDTH
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
