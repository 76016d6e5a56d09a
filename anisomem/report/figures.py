"""Pictures of a case: ROC curves, and the metric's two components against each other."""

from functools import partial
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed to write a file

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from anisomem.benchmark import Case
from anisomem.detection.anisotropy import Anisotropy
from anisomem.evaluation import auc, roc_curve
from anisomem.storage import atomic

# Okabe and Ito's palette: distinct to colour-blind readers and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
STYLES = ("-", "--", ":")


def roc(case: Case) -> Figure:
    """ROC curves of every detector at its largest n, false-positive rate on a log axis."""
    figure, axis = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    largest = {detector.name: detector for detector in case.detectors}
    scores = case.scores()
    n_negative = int((case.prompts.labels == 0).sum())
    ordered = sorted(largest.values(), key=lambda d: -auc(scores[d.key][0], case.prompts.labels))
    for i, detector in enumerate(ordered):
        curve = roc_curve(scores[detector.key][0], case.prompts.labels)
        value = auc(scores[detector.key][0], case.prompts.labels)
        axis.step(
            np.maximum(curve.fpr, 0.5 / n_negative),
            curve.tpr,
            where="post",
            color=COLOURS[i % len(COLOURS)],
            linestyle=STYLES[i // len(COLOURS) % len(STYLES)],
            label=f"{detector.key} ({value:.3f})",
        )
    axis.axvline(0.01, color="0.6", linewidth=0.8)
    axis.text(0.0104, 0.01, "1% FPR", color="0.4", fontsize=8)
    axis.set(
        xscale="log",
        xlim=(0.5 / n_negative, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
        title=f"{case.name}, noise seed {case.config.seeds[0]}",
    )
    axis.legend(title="detector (AUC)", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def scatter(case: Case) -> Figure | None:
    """Norm against cosine of the first anisotropy detector that records both, per prompt."""
    both = [d for d in case.detectors if isinstance(d, Anisotropy) and isinstance(d.weights, str)]
    if not both:
        return None
    detector = both[-1]
    recorded = case.recorded(case.config.seeds[0])
    norm = recorded.mean(detector.norm_name, detector.n)
    cosine = recorded.mean(detector.cos_name, detector.n)
    figure, axis = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    blocks = np.array(case.prompts.blocks)
    memorized = case.prompts.labels == 1
    for i, block in enumerate(dict.fromkeys(blocks[~memorized])):
        chosen = ~memorized & (blocks == block)
        axis.scatter(
            norm[chosen],
            cosine[chosen],
            s=14,
            marker="x",
            linewidths=0.8,
            color=COLOURS[(i + 1) % len(COLOURS)],
            label=f"not memorized: {block}",
        )
    axis.scatter(
        norm[memorized], cosine[memorized], s=14, color=COLOURS[0], alpha=0.6, label="memorized"
    )
    axis.set(
        xlabel=f"norm of the guidance vector ({detector.norm_name.split('[')[1][:-1]})",
        ylabel=f"cosine ({detector.cos_name.split('[')[1][:-1]})",
        title=f"{case.name}, n = {detector.n}",
    )
    axis.legend(fontsize=8)
    return figure


def write(case: Case, folder: Path) -> None:
    """Saves the case's figures as PNG and SVG."""
    for name, figure in (("roc", roc(case)), ("norm_cosine", scatter(case))):
        if figure is not None:
            for suffix in ("png", "svg"):
                path = folder / f"{name}-{case.name}.{suffix}"
                atomic.write(path, partial(figure.savefig, dpi=150))
            plt.close(figure)
