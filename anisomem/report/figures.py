"""Pictures of a case, for colour-blind readers and for print."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed to write a file

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from anisomem.benchmark import Case
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Detector
from anisomem.evaluation import auc, roc_band, roc_curve
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.gallery import headline
from anisomem.report.tables import percent
from anisomem.storage import atomic

# Okabe and Ito's palette, without the yellow that vanishes on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")
WIDTH = 6.8  # inches: a text column in print, half of a screen
VERDICTS = {"better": COLOURS[0], "not separable": "0.85", "worse": COLOURS[1]}


def write(case: Case, folder: Path) -> dict[str, Path]:
    """Saves every figure that applies to a case as PNG and SVG; name to the PNG's path."""
    saved = {}
    for draw in FIGURES:
        figure = draw(case)
        if figure is None:
            continue
        name = draw.__name__
        saved[name] = save(figure, folder / f"{name}-{case.name}")
    return saved


def save(figure: Figure, path: Path) -> Path:
    """Saves and closes a figure as ``path`` with .svg and with .png; returns the latter."""
    for suffix in (".svg", ".png"):
        file = path.with_name(path.name + suffix)
        atomic.write(file, partial(figure.savefig, dpi=150))
    plt.close(figure)
    return file


def roc(case: Case) -> Figure:
    """ROC curves of every detector at its largest n, false-positive rate on a log axis.

    The best detector and the headline have their pointwise bootstrap band; more would hide it.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    labels, evaluation = case.prompts.labels, case.evaluated
    first = 0.5 / evaluation.n_negative  # where no false positive is drawn
    largest = _largest(case)
    scores = {d.key: evaluation.scores[case.detectors.index(d), 0] for d in largest}
    ranked = sorted(scores, key=lambda key: -auc(scores[key], labels))
    banded = {ranked[0], headline(case.detectors).key}
    drawn = sorted(largest, key=lambda d: d.key not in banded)  # whose colours differ for sure
    for i, d in enumerate(drawn):
        curve, colour = roc_curve(scores[d.key], labels), COLOURS[i % len(COLOURS)]
        axis.step(
            np.maximum(curve.fpr, first),
            curve.tpr,
            where="post",
            color=colour,
            linestyle=LINES[i // len(COLOURS) % len(LINES)],
            linewidth=2 if d.key in banded else 1.1,
            label=f"{d.key} ({auc(scores[d.key], labels):.3f})",
        )
        if d.key in banded:
            rates = _rates(evaluation.n_negative)
            band = roc_band(scores[d.key], labels, evaluation.resampling, rates)
            low, high = [i.low for i in band], [i.high for i in band]
            axis.fill_between(rates, low, high, step="post", color=colour, alpha=0.16, lw=0)
    axis.axvline(0.01, color="0.6", linewidth=0.8)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    axis.text(0.0106, 0.03, "1% FPR", color="0.3", fontsize=8, bbox=box)
    axis.set(
        xscale="log",
        xlim=(first, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
        title=f"{case.name}, noise seed {case.config.seeds[0]}",
    )
    handles, names = axis.get_legend_handles_labels()
    by_rank = sorted(range(len(drawn)), key=lambda i: ranked.index(drawn[i].key))
    figure.legend(
        [handles[i] for i in by_rank],
        [names[i] for i in by_rank],
        title="detector (AUC)",
        ncols=3,
        fontsize=8,
        loc="outside lower center",
    )
    return figure


def _rates(n_negative: int) -> list[float]:
    """False-positive rates at which a curve may step, thinned to even spacing on a log axis."""
    counts = np.unique(np.geomspace(1, max(1, n_negative - 1), 80).round())
    return [float(rate) for rate in (0.5 / n_negative, *(counts / n_negative))]


def forest(case: Case) -> Figure:
    """AUC and TPR at the first target of every detector, with intervals."""
    summaries = case.evaluated.summaries()
    keys = [detector.key for detector in case.detectors]
    target = next(iter(summaries[0].tpr))
    height = 0.9 + 0.24 * len(keys)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, layout="constrained")
    for axis, name, estimates in (
        (axes[0], "AUC", [s.auc for s in summaries]),
        (axes[1], f"TPR@{percent(target)}FPR", [s.tpr[target] for s in summaries]),
    ):
        for line, estimate in enumerate(estimates):
            if estimate is None:
                axis.text(0.5, line, "not resolvable", fontsize=7, va="center", ha="center")
                continue
            interval = estimate.interval
            axis.plot([interval.low, interval.high], [line, line], color=COLOURS[0], linewidth=1.5)
            axis.plot(estimate.value, line, "o", color=COLOURS[0], markersize=4)
        axis.set(xlabel=name)
        axis.grid(axis="x", color="0.9")
    axes[0].axvline(0.5, color="0.6", linewidth=0.8)
    axes[0].set_yticks(range(len(keys)), keys, fontsize=8)
    axes[0].invert_yaxis()
    figure.suptitle(f"{case.name}, 95% intervals", fontsize=10)
    return figure


def distributions(case: Case) -> Figure | None:
    """Scores of memorized and other prompts, one panel per detector at its largest n."""
    detectors = [d for d in _largest(case) if d.n]
    if not detectors:
        return None
    figure, axes = _panels(len(detectors), 1.7)
    labels, scores = case.prompts.labels, case.scores
    for axis, detector in zip(axes.flat, detectors, strict=False):
        values = scores[detector.key][0]
        low, high = np.quantile(values, [0.002, 0.998])
        bins = np.linspace(low, high, 40)
        for label, name, colour in ((0, "other", COLOURS[1]), (1, "memorized", COLOURS[0])):
            axis.hist(
                values[labels == label], bins, density=True, alpha=0.6, color=colour, label=name
            )
        axis.set_title(detector.key, fontsize=8)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7)
    return figure


def norm_cosine(case: Case) -> Figure | None:
    """The metric's two components per prompt; the published score's line at the first target."""
    both = [d for d in case.detectors if isinstance(d, Anisotropy) and isinstance(d.weights, str)]
    if not both:
        return None
    detector = max(both, key=lambda d: (d.weights == "published", d.n))
    recorded = case.recorded(case.config.seeds[0])
    norm = recorded.mean(detector.norm_name, detector.n)
    cosine = recorded.mean(detector.cos_name, detector.n)
    memorized, blocks = case.prompts.labels == 1, np.array(case.prompts.blocks)
    figure, axis = plt.subplots(figsize=(WIDTH, 4.8), layout="constrained")
    for i, block in enumerate(dict.fromkeys(blocks[~memorized])):
        chosen = ~memorized & (blocks == block)
        colour, name = COLOURS[1 + i % (len(COLOURS) - 1)], f"other: {block}"
        axis.scatter(norm[chosen], cosine[chosen], 14, colour, "x", linewidths=0.8, label=name)
    axis.scatter(norm[memorized], cosine[memorized], 14, COLOURS[0], alpha=0.6, label="memorized")
    target = next((t for t in case.evaluated.targets if case.evaluated.resolvable(t)), None)
    if detector.weights == "published" and target:
        score = detector.combine(recorded)
        allowed = int(allowed_false_positives(target, (~memorized).sum()))
        threshold = np.sort(score[~memorized])[::-1][allowed]
        gamma_norm, gamma_cos = detector.numeric_weights(recorded.stands_for)
        x = np.array(axis.get_xlim())
        limits = axis.get_ylim()
        axis.plot(x, (threshold - gamma_norm * x) / gamma_cos, "k--", linewidth=1)
        axis.lines[-1].set_label(f"{percent(target)} FPR")
        axis.set(xlim=x, ylim=limits)
    axis.set(
        xlabel=f"norm of the guidance vector, {detector.norm_at}",
        ylabel=f"cosine, {detector.cos_at}",
        title=f"{case.name}, {detector.key}",
    )
    axis.legend(fontsize=8)
    return figure


def verdicts(case: Case) -> Figure:
    """Which detector's AUC is separably larger, for every pair at their largest n."""
    chosen = [case.detectors.index(d) for d in _largest(case)]
    keys = [case.detectors[i].key for i in chosen]
    pairs = case.evaluated.comparisons(chosen)
    size = 1.6 + 0.46 * len(keys)
    figure, axis = plt.subplots(figsize=(size + 1.4, size), layout="constrained")
    for pair in pairs:
        a, b = chosen.index(pair.a), chosen.index(pair.b)
        opposite = {"better": "worse", "worse": "better"}.get(pair.auc.verdict, pair.auc.verdict)
        for x, y, verdict, sign in ((b, a, pair.auc.verdict, 1), (a, b, opposite, -1)):
            axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=VERDICTS[verdict]))
            text = f"{sign * pair.auc.difference:+.3f}"
            text = "0" if float(text) == 0 else text
            tone = "black" if verdict == "not separable" else "white"
            axis.text(x, y, text, ha="center", va="center", fontsize=6, color=tone)
    axis.set_xticks(range(len(keys)), keys, rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(len(keys)), keys, fontsize=7)
    axis.set(xlim=(-0.5, len(keys) - 0.5), ylim=(len(keys) - 0.5, -0.5))
    axis.set_title("AUC of the row minus the column's", fontsize=9)
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in VERDICTS.values()]
    axis.legend(patches, VERDICTS, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def cost(case: Case) -> Figure | None:
    """AUC against seconds per ten prompts, detector alone."""
    rows = [row for row in case.rows() if row.cost]
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(WIDTH, 5.0), layout="constrained")
    for i, name in enumerate(dict.fromkeys(row.detector for row in rows)):
        own = [row for row in rows if row.detector == name]
        seconds = [row.cost["isolated"][0] for row in own if row.cost]
        areas = [row.summary.auc.value for row in own]
        style = f"{'os^D'[i // len(COLOURS) % 4]}-"
        axis.plot(seconds, areas, style, color=COLOURS[i % len(COLOURS)], markersize=5, label=name)
        for x, y, row in zip(seconds, areas, own, strict=True):
            axis.annotate(str(row.n), (x, y), (4, 3), textcoords="offset points", fontsize=7)
    axis.set(xscale="log", xlabel="seconds per 10 prompts", ylabel="AUC")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_title(f"{case.name}; the number is n", fontsize=10)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    return figure


def dose_response(case: Case) -> Figure | None:
    """Detection rate of memorized prompts by how often their picture was repeated in training."""
    target = next((t for t in case.config.fpr_targets if case.evaluated.resolvable(t)), None)
    doses = dose_groups(case.prompts)
    if target is None or not doses:
        return None
    detectors = _largest(case)
    rates = case.evaluated.tpr_of_groups(
        [dose.members for dose in doses], target, [case.detectors.index(d) for d in detectors]
    )
    figure, axes = _panels(len(detectors), 1.9)
    edges = sorted({edge for dose in doses for edge in (dose.low, dose.high)})
    every = 1 + len(edges) // 6
    centres = [np.sqrt(dose.low * dose.high) for dose in doses]
    for axis, detector, estimates in zip(axes.flat, detectors, rates, strict=False):
        if case.prompts.reproduction_rates is not None:
            reproduced = [case.prompts.reproduction_rates[dose.members].mean() for dose in doses]
            axis.plot(centres, reproduced, "--", color="0.55", linewidth=1, label="reproduced")
        values = [estimate.value for estimate in estimates]
        ends = [[e.interval.low for e in estimates], [e.interval.high for e in estimates]]
        axis.vlines(centres, *ends, color=COLOURS[0], linewidth=1.5, alpha=0.6)
        axis.plot(centres, values, "o-", color=COLOURS[0], markersize=4, label="detected")
        axis.set_xscale("log", base=2)
        axis.set_xticks(edges[::every], [f"{edge:g}" for edge in edges[::every]])
        axis.set(ylim=(-0.04, 1.04))
        axis.set_title(detector.key, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.minorticks_off()
    numbers = ", ".join(str(int(dose.members.sum())) for dose in doses)
    figure.suptitle(f"{case.name}: memorized prompts per bin {numbers}", fontsize=9)
    figure.supxlabel("repetitions of the picture in training", fontsize=9)
    figure.supylabel(f"share at {percent(target)} FPR", fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, ncols=2, loc="outside lower right")
    return figure


@dataclass(frozen=True)
class Dose:
    """Memorized prompts ``members [N]`` with pictures repeated more than low, at most high."""

    low: float
    high: float
    members: npt.NDArray[np.bool_]


def dose_groups(prompts: PromptSet) -> list[Dose]:
    """Memorized prompts by repetitions of their picture, bins from one power of two to the next.

    Empty bins are left out, and so are prompts whose picture varies or is unknown.
    """
    if prompts.repetitions is None:
        return []
    known = (prompts.labels == 1) & (prompts.repetitions > 0)
    power = np.ceil(np.log2(np.where(known, prompts.repetitions, 1)))
    return [Dose(2.0 ** (k - 1), 2.0**k, known & (power == k)) for k in np.unique(power[known])]


FIGURES: tuple[Callable[[Case], Figure | None], ...] = (
    roc,
    forest,
    distributions,
    dose_response,
    norm_cosine,
    verdicts,
    cost,
)


def _largest(case: Case) -> list[Detector]:
    """Each detector once, at its largest n, in the configuration's order."""
    names = dict.fromkeys(detector.name for detector in case.detectors)
    return [
        max((d for d in case.detectors if d.name == name), key=lambda d: d.n) for name in names
    ]


def _panels(count: int, height: float) -> tuple[Figure, Any]:
    """A grid of ``count`` equal axes, three a line."""
    columns = min(3, count)
    lines = -(-count // columns)
    size = (WIDTH, 0.6 + height * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    return figure, axes
