"""Pictures of a case.

Pictures of pairs are in ``pairs`` and of repetitions in ``doses``; sweeps, trade-offs and the
geometry have their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from scipy.optimize import isotonic_regression

from anisomem.benchmark.gallery import headline
from anisomem.benchmark.results import Results, Row
from anisomem.detection.anisotropy import Anisotropy
from anisomem.evaluation import Estimate, auc, roc_band, roc_curve
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.report import pairs
from anisomem.report.attempt import attempt
from anisomem.report.compared import Compared, at_largest_n, compared
from anisomem.report.doses import dose_response
from anisomem.report.folder import Draw
from anisomem.report.style import (
    COLOURS,
    GREY,
    MARKERS,
    WIDTH,
    logit_axis,
    on_logit,
    panels,
)
from anisomem.report.table import cut
from anisomem.report.tables import percent

MOST_BLOCKS = 12  # that a legend names; the largest


def figures_of(results: Results, pairs_of_all: Compared | None) -> dict[str, Draw]:
    """All figures of a case by name, not drawn yet; one that does not apply is drawn as None.

    Arguments:
        results: The results of the complete case.
        pairs_of_all: What :func:`compared_of` has found; without it there are none of pairs.
    """
    draws: dict[str, Draw] = {name: partial(draw, results) for name, draw in FIGURES.items()}
    if pairs_of_all:
        draws |= {name: partial(draw, pairs_of_all) for name, draw in OF_PAIRS.items()}
    return draws


def compared_of(results: Results) -> Compared | None:
    """Every pair of a case's detectors, which figures show; None where there are none."""
    if len(detectors := at_largest_n(results.detectors)) < 2:
        return None
    what = f"figures of pairs of {results.name}"
    return attempt(what, partial(compared, results, detectors))


def roc(results: Results) -> Figure:
    """ROC curves of every detector at its largest n, false-positive rate on a log axis.

    As many as there are colours, the best and the headline among them, are named; the others are
    grey. The best and the headline have their pointwise bootstrap band; more would hide it.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    labels, evaluation = results.prompts.labels, results.evaluated
    first = 0.5 / evaluation.n_negative  # where no false positive is drawn
    scores = {
        d.key: evaluation.scores[results.detectors.index(d), 0]
        for d in at_largest_n(results.detectors)
    }
    areas = {key: auc(values, labels) for key, values in scores.items()}
    ranked = sorted(scores, key=lambda key: -areas[key])
    banded = {ranked[0], headline(results.detectors).key}
    room = len(COLOURS) - len(banded)
    coloured = banded | set([key for key in ranked if key not in banded][:room])
    named = [key for key in ranked if key in coloured]
    grey = [key for key in ranked if key not in coloured]
    for key in [*grey, *named]:
        colour_index = named.index(key) if key in coloured else None
        curve = roc_curve(scores[key], labels)
        axis.step(
            np.maximum(curve.fpr, first),
            curve.tpr,
            where="post",
            color=GREY if colour_index is None else COLOURS[colour_index],
            linestyle="--"
            if colour_index and colour_index % 2
            else "-",  # equal curves show each other
            linewidth=2 if key in banded else 0.7 if colour_index is None else 1.2,
            label=None if colour_index is None else f"{key} ({areas[key]:.3f})",
        )
        if key in banded:
            rates = _rates(evaluation.n_negative)
            band = roc_band(scores[key], labels, evaluation.resampling, rates)
            low, high = [i.low for i in band], [i.high for i in band]
            colour = axis.lines[-1].get_color()
            axis.fill_between(rates, low, high, step="post", color=colour, alpha=0.16, lw=0)
    if first < 0.01:
        axis.axvline(0.01, color="0.4", linewidth=0.8, linestyle=":")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
        axis.text(0.0106, 0.03, "1% FPR", color="0.3", fontsize=8, bbox=box)
    axis.set(
        xscale="log",
        xlim=(first, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
    )
    figure.suptitle(f"{results.title}{_first_noise(results)}", fontsize=10)
    if grey:
        text = f"{len(grey)} others ({areas[grey[-1]]:.3f} to {areas[grey[0]]:.3f})"
        axis.plot([], [], color=GREY, linewidth=0.7, label=text)
    figure.legend(title="detector (AUC)", ncols=3, fontsize=8, loc="outside lower center")
    return figure


def _first_noise(results: Results) -> str:
    """Which noise is shown, where any was drawn."""
    drawn = any(detector.draws_noise for detector in results.detectors)
    return f", noise seed {results.config.seeds[0]}" if drawn else ""


def _rates(n_negative: int) -> list[float]:
    """False-positive rates at which a curve may step, thinned to even spacing on a log axis."""
    counts = np.unique(np.geomspace(1, max(1, n_negative - 1), 80).round())
    return [float(rate) for rate in (0.5 / n_negative, *(counts / n_negative))]


def forest(results: Results) -> Figure:
    """AUC and TPR at the first target with intervals: a row per detector, a colour per n."""
    summaries = results.evaluated.summaries()
    target = next(iter(summaries[0].tpr))
    names = list(dict.fromkeys(detector.name for detector in results.detectors))
    sizes = sorted({detector.n for detector in results.detectors})
    most = max(sum(d.name == name for d in results.detectors) for name in names)
    height = 1.1 + len(names) * (0.12 + 0.1 * most)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, layout="constrained")
    own = {name: [d.n for d in results.detectors if d.name == name] for name in names}
    for detector, summary in zip(results.detectors, summaries, strict=True):
        ns = sorted(own[detector.name])
        y = names.index(detector.name) + 0.24 * (ns.index(detector.n) - (len(ns) - 1) / 2)
        style = sizes.index(detector.n)
        _interval(axes[0], summary.auc, y, style)
        _interval(axes[1], summary.tpr[target], y, style)
    for axis in axes:
        axis.grid(axis="x", color="0.9")
        for edge in range(1, len(names)):
            axis.axhline(edge - 0.5, color="0.93", linewidth=0.8)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].axvline(0.5, color="0.6", linewidth=0.8)
    logit_axis(axes[0], "x")
    axes[1].set_xlabel(f"TPR@{percent(target)}FPR")
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"{results.title}, 95% intervals", fontsize=10)
    handles = [
        plt.Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)])
        for i in range(len(sizes))
    ]
    unsaid = any(detector.sees_model and not detector.n for detector in results.detectors)
    alone = "n not given" if unsaid else "prompt alone"
    texts = [f"n = {n}" if n else alone for n in sizes]
    figure.legend(handles, texts, fontsize=8, ncols=6, loc="outside lower center")
    return figure


def _interval(axis: Axes, estimate: Estimate | None, y: float, style: int) -> None:
    if estimate is None:
        axis.text(0.5, y, "not resolvable", fontsize=6, va="center", ha="center")
        return
    colour, marker = COLOURS[style % len(COLOURS)], MARKERS[style % len(MARKERS)]
    ends = [on_logit(estimate.interval.low), on_logit(estimate.interval.high)]
    axis.plot(ends, [y, y], color=colour, linewidth=1.4)
    axis.plot(on_logit(estimate.value), y, marker, color=colour, markersize=3.5)


def distributions(results: Results) -> Figure | None:
    """Scores of memorized and other prompts, one panel per detector at its largest n."""
    detectors = [d for d in at_largest_n(results.detectors) if d.sees_model]
    if not detectors:
        return None
    figure, axes = panels(len(detectors), 1.5)
    labels, scores = results.prompts.labels, results.scores
    for axis, detector in zip(axes.flat, detectors, strict=False):
        values = scores[detector.key][0]
        low, high = np.quantile(values, [0.002, 0.998])
        if low == high:
            low, high = low - 0.5, high + 0.5
        bins, shown = np.linspace(low, high, 40), np.clip(values, low, high)
        for label, name, colour in ((0, "other", COLOURS[1]), (1, "memorized", COLOURS[0])):
            axis.hist(
                shown[labels == label], bins, density=True, alpha=0.6, color=colour, label=name
            )
        axis.set_title(detector.key, fontsize=7)
        axis.set_yticks([])
        axis.locator_params(axis="x", nbins=5)
        axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7)
    figure.suptitle(f"{results.title}, scores{_first_noise(results)}", fontsize=9)
    return figure


def norm_cosine(results: Results) -> Figure | None:
    """The metric's two components per prompt; the published score's line at the first target."""
    both = [
        d for d in results.detectors if isinstance(d, Anisotropy) and isinstance(d.weights, str)
    ]
    if not both:
        return None
    detector = max(both, key=lambda d: (d.weights == "published", d.n))
    recorded = results.recorded(results.config.seeds[0])
    norm = recorded.mean(detector.norm_name, detector.n)
    cosine = recorded.mean(detector.cos_name, detector.n)
    memorized, blocks = results.prompts.labels == 1, np.array(results.prompts.blocks)
    figure, axis = plt.subplots(figsize=(WIDTH, 4.8), layout="constrained")
    sizes = Counter(blocks[~memorized])
    named = sorted(sizes, key=lambda block: -sizes[block])[:MOST_BLOCKS]
    for i, block in enumerate(block for block in sizes if block in named):
        chosen = ~memorized & (blocks == block)
        colour, name = COLOURS[1 + i % (len(COLOURS) - 1)], f"other: {cut(block, 40)}"
        axis.scatter(norm[chosen], cosine[chosen], 14, colour, "x", linewidths=0.8, label=name)
    if rest := len(sizes) - len(named):
        chosen = ~memorized & ~np.isin(blocks, named)
        name = f"other: {rest} more blocks"
        axis.scatter(norm[chosen], cosine[chosen], 14, GREY, "x", linewidths=0.8, label=name)
    axis.scatter(norm[memorized], cosine[memorized], 14, COLOURS[0], alpha=0.6, label="memorized")
    target = next((t for t in results.evaluated.targets if results.evaluated.resolvable(t)), None)
    if detector.weights == "published" and target:
        score = detector.combine(recorded)
        allowed = int(allowed_false_positives(target, (~memorized).sum()))
        threshold = np.sort(score[~memorized])[::-1][allowed]
        gamma = detector.fixed_gamma(recorded.stands_for)
        x = np.array(axis.get_xlim())
        limits = axis.get_ylim()
        axis.plot(x, (threshold - gamma.norm * x) / gamma.cos, "k--", linewidth=1)
        axis.lines[-1].set_label(f"{percent(target)} FPR")
        axis.set(xlim=x, ylim=limits)
    axis.set(
        xlabel=f"norm of the guidance vector, {detector.norm_at}",
        ylabel=f"cosine, {detector.cos_at}",
    )
    figure.suptitle(f"{results.title}, {detector.key}", fontsize=10)
    axis.legend(fontsize=8)
    return figure


def cost(results: Results) -> Figure | None:
    """AUC against seconds per ten prompts, detector alone, with the Pareto front.

    Detectors on the front are in colour, the others grey.
    """
    timed = [row for row in results.table if row.timed]
    scored = [(row, row.summary.auc.value) for row in timed if row.summary]
    if not scored:
        return None
    rows, areas = [row for row, _ in scored], {_line(row): area for row, area in scored}
    figure, axis = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    front = pareto_front([(_seconds(row), area) for row, area in scored])
    winners = list(dict.fromkeys(rows[i].detector for i in front))
    last = {}
    for name in dict.fromkeys(row.detector for row in rows):
        own = sorted((row for row in rows if row.detector == name), key=_seconds)
        points = [(_seconds(row), on_logit(areas[_line(row)])) for row in own]
        best = name in winners
        colour = COLOURS[winners.index(name) % len(COLOURS)] if best else GREY
        axis.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4, linewidth=1)
        axis.lines[-1].set_zorder(3 if best else 1)
        last[name] = (*points[-1], colour if best else "0.45")
        if best:
            for (x, y), row in zip(points, own, strict=True):
                axis.annotate(str(row.n), (x, y), (3, 3), textcoords="offset points", fontsize=7)
    steps = [(_seconds(rows[i]), on_logit(areas[_line(rows[i])])) for i in front]
    if steps:
        axis.step(*zip(*steps, strict=True), where="post", color="0", linewidth=1, linestyle=":")
    axis.set(xscale="log", xlabel="seconds per 10 prompts")
    logit_axis(axis, "y")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.minorticks_off()
    figure.suptitle(f"{results.title}; dotted: the Pareto front; the number is n", fontsize=9)
    _names_at_the_right(axis, last)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, AUC) points that no other beats, from the cheapest on.

    One that is as cheap and better beats, and one that is cheaper and as good; of equal points
    the first stands for all. A coin has 0.5 and costs nothing.
    """
    front: list[int] = []
    highest = 0.5
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > highest:
            front.append(i)
            highest = points[i][1]
    return front


def _line(row: Row) -> tuple[str, int]:
    return row.detector, row.n


def _seconds(row: Row) -> float:
    assert row.timed
    return row.timed.isolated[0]


def _names_at_the_right(axis: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """Names in a column outside the axes, each led to its point, none on another.

    Arguments:
        axis: The axis with its final limits.
        ends: Name to x, y and colour.
    """
    place = axis.transData + axis.transAxes.inverted()
    wanted = {name: float(place.transform((x, y))[1]) for name, (x, y, _) in ends.items()}
    order = sorted(wanted, key=lambda name: wanted[name])
    gap = min(0.036, 1 / max(1, len(order) - 1))
    heights = spread([wanted[name] for name in order], gap)
    for name, height in zip(order, heights, strict=True):
        x, y, colour = ends[name]
        axis.annotate(
            name,
            (x, y),
            (1.06, height),
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "relpos": (0, 0.5)},
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions from 0 to 1 that are ``gap`` apart, as near to the wanted ones as can be.

    In least squares; they are wanted in rising order, and have room.
    """
    steps = gap * np.arange(len(wanted))
    fitted = isotonic_regression(np.asarray(wanted) - steps).x
    placed: list[float] = (np.clip(fitted, 0, 1 - steps[-1]) + steps).tolist()
    return placed


#: What stands under each on the page.
CAPTIONS = {
    "roc": "ROC curves on one noise seed, every detector at its largest n, false-positive rate on"
    " a log axis. Shaded: pointwise 95% bootstrap bands of the best detector and of the metric"
    " (thick lines).",
    "forest": "AUC and TPR with 95% intervals over prompt clusters, for each number of noise"
    " samples n.",
    "distributions": "Scores of memorized and other prompts, every detector at its largest n. A"
    " detector orders the prompts well where the colours do not overlap, memorized on the right."
    " The outermost bars hold what lies beyond.",
    "dose_response": "How many memorized prompts are detected, and their mean score, by how often"
    " their picture was repeated in training. Scores are in standard deviations of the other"
    " prompts, from their mean. Bars: 95% intervals, perhaps too short for groups of few prompts."
    " Dashed: how often the model reproduces these same prompts' pictures. Prompts that reproduce"
    " a picture only sometimes are in neither class.",
    "norm_cosine": "The two components of the anisotropy metric for every prompt. The dashed line"
    " is where the published score calls the named share of the other prompts memorized; the"
    " metric calls what lies above and to the right of it.",
    "across": "Every detector in every case; grey is the best of a column and what is not"
    " separable from it. Mean ranks with 95% intervals, 1 is the best.",
    "critical_difference": "Detectors at their largest n in the order of AUC and of TPR. Two that"
    " have a dot on the same bar are not separable by the paired bootstrap test, adjusted by"
    " Holm's method over all pairs shown.",
    "verdicts": "Difference in AUC of every pair of detectors at their largest n, and whether it"
    " is separable, likewise adjusted; the table of pairs says what is so unadjusted.",
    "cost": "AUC against seconds, detector alone, for each number of noise samples n. Dotted: the"
    " Pareto front, which no detector beats that costs no more; what is never on it is grey."
    " Detectors of equal evaluations differ in seconds by the noise of the clock.",
}
FIGURES: Mapping[str, Callable[[Results], Figure | None]] = {
    "roc": roc,
    "forest": forest,
    "distributions": distributions,
    "dose_response": dose_response,
    "norm_cosine": norm_cosine,
    "cost": cost,
}
OF_PAIRS: Mapping[str, Callable[[Compared], Figure]] = {
    "critical_difference": pairs.critical_difference,
    "verdicts": pairs.verdicts,
}
