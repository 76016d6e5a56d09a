"""Pictures of a case: which there are, and those that are of no other file.

Curves are in ``curves``, costs in ``pareto``, pairs in ``pairs`` and repetitions in ``doses``;
sweeps, trade-offs and the geometry have their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from anisomem.benchmark.results import Results
from anisomem.detection.anisotropy import COSINES, Anisotropy
from anisomem.evaluation import Estimate
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.report import pairs
from anisomem.report.attempt import attempt
from anisomem.report.colours import Colours
from anisomem.report.compared import Compared, at_largest_n, compared
from anisomem.report.curves import first_noise, first_target, roc, samples, shown_statistics
from anisomem.report.doses import dose_response
from anisomem.report.folder import Draw
from anisomem.report.pareto import cost
from anisomem.report.style import COLOURS, GREY, WIDTH, logit_axis, on_logit, panels
from anisomem.report.table import cut
from anisomem.report.tables import percent

MOST_BLOCKS = 12  # that a legend names; the largest
OTHERS = "0.6"  # what is not memorized, beside a detector's own colour
CROSSES = "x+1234"  # of blocks, so that print without colours tells them apart


def figures_of(
    results: Results, pairs_of_all: Compared | None, colours: Colours
) -> dict[str, Draw]:
    """All figures of a case by name, not drawn yet; one that does not apply is drawn as None.

    Arguments:
        results: The results of the complete case.
        pairs_of_all: What :func:`compared_of` has found; without it there are none of pairs.
        colours: The colours of detectors, of :func:`anisomem.report.colours.colours_of`.
    """
    draws: dict[str, Draw] = {
        name: partial(draw, results, colours) for name, draw in FIGURES.items()
    }
    if pairs_of_all:
        draws |= {name: partial(draw, pairs_of_all, colours) for name, draw in OF_PAIRS.items()}
    return draws


def compared_of(results: Results) -> Compared | None:
    """Every pair of a case's detectors, which figures show; None where there are none."""
    if len(detectors := at_largest_n(results.detectors)) < 2:
        return None
    what = f"figures of pairs of {results.name}"
    return attempt(what, partial(compared, results, detectors))


def forest(results: Results, colours: Colours) -> Figure:
    """AUC and TPR with intervals, a row for each detector at its largest n, the best on top.

    A TPR that too few negatives resolve has no panel.
    """
    every = zip(results.detectors, results.evaluated.summaries(), strict=True)
    largest = {detector.key for detector in at_largest_n(results.detectors)}
    found = [(detector, summary) for detector, summary in every if detector.key in largest]
    found.sort(key=lambda one: -one[1].auc.value)
    reads = shown_statistics(results)
    figure, axes = plt.subplots(
        1,
        len(reads),
        figsize=(WIDTH, 1.1 + 0.19 * len(found)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, (name, read) in zip(axes[0], reads.items(), strict=True):
        for y, (detector, summary) in enumerate(found):
            if estimate := read(summary):
                _interval(axis, estimate, y, colours[detector.name])
        axis.grid(color="0.93")
        axis.set_axisbelow(True)
        axis.tick_params(axis="x", labelsize=8)
        axis.set_xlabel(name)
    axes[0, 0].axvline(0.5, color="0.6", linewidth=0.8)
    logit_axis(axes[0, 0], "x")
    axes[0, 0].set_yticks(range(len(found)), [d.key for d, _ in found], fontsize=8)
    axes[0, 0].set(ylim=(len(found) - 0.5, -0.5), ylabel="detector, n noise samples")
    figure.suptitle(f"{results.title}, 95% intervals", fontsize=10)
    return figure


def _interval(axis: Axes, estimate: Estimate, y: float, colour: str) -> None:
    ends = [on_logit(estimate.interval.low), on_logit(estimate.interval.high)]
    axis.plot(ends, [y, y], color=colour, linewidth=1.6)
    axis.plot(on_logit(estimate.value), y, "o", color=colour, markersize=4)


def distributions(results: Results, colours: Colours) -> Figure | None:
    """Scores of memorized and other prompts, one panel per detector at its largest n.

    A line stands at the threshold of the first target that can be resolved.
    """
    detectors = [d for d in at_largest_n(results.detectors) if d.sees_model]
    if not detectors:
        return None
    figure, axes = panels(len(detectors), 1.5, "score, larger where memorized")
    labels, scores, target = results.prompts.labels, results.scores, first_target(results)
    for axis, detector in zip(axes.flat, detectors, strict=False):
        values = scores[detector.key][0]
        low, high = np.quantile(values, [0.002, 0.998])
        if low == high:
            low, high = low - 0.5, high + 0.5
        bins, shown = np.linspace(low, high, 40), np.clip(values, low, high)
        for label, colour in ((0, OTHERS), (1, colours[detector.name])):
            axis.hist(shown[labels == label], bins, density=True, alpha=0.65, color=colour)
        if target is not None:
            line = np.clip(_threshold(values, labels, target), low, high)
            axis.axvline(line, color="black", linewidth=1, linestyle="--")
        axis.set_title(detector.key, fontsize=7)
        axis.set_yticks([])
        axis.locator_params(axis="x", nbins=5)
        axis.tick_params(labelsize=7)
    handles = [Patch(color=OTHERS, alpha=0.65), Patch(color="0.25")]
    texts = ["other prompts", "memorized prompts, in the detector's colour"]
    if target is not None:
        handles.append(plt.Line2D([], [], color="black", linewidth=1, linestyle="--"))
        texts.append(f"exceeded by {percent(target)} of the others")
    figure.supylabel("density of prompts", fontsize=9)
    figure.legend(handles, texts, fontsize=8, ncols=3, loc="outside lower center")
    figure.suptitle(f"{results.title}, scores{first_noise(results)}", fontsize=9)
    return figure


def _threshold(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8], target: float
) -> float:
    """The least score that at most this share of the others exceeds."""
    others = np.sort(scores[labels == 0])[::-1]
    return float(others[int(allowed_false_positives(target, len(others)))])


def norm_cosine(results: Results, colours: Colours) -> Figure | None:
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
    labels = results.prompts.labels
    figure, axis = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    _blocks(axis, results, norm, cosine)
    axis.scatter(
        norm[labels == 1],
        cosine[labels == 1],
        14,
        colours[detector.name],
        alpha=0.6,
        label="memorized",
    )
    target = first_target(results)
    if detector.weights == "published" and target is not None:
        threshold = _threshold(detector.combine(recorded), labels, target)
        gamma = detector.fixed_gamma(recorded.stands_for)
        x = np.array(axis.get_xlim())
        limits = axis.get_ylim()
        axis.plot(x, (threshold - gamma.norm * x) / gamma.cos, "k--", linewidth=1)
        axis.lines[-1].set_label(f"score that {percent(target)} of the others exceed")
        axis.set(xlim=x, ylim=limits)
    axis.set(
        xlabel=f"norm of c − u, at {_in_words(detector.norm_at)}",
        ylabel=f"{COSINES[detector.mode]}, at {_in_words(detector.cos_at)}",
    )
    figure.suptitle(f"{results.title}, {detector.key}", fontsize=10)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    return figure


def _in_words(place: str) -> str:
    """A place of the schedule, such as ``step:-3``, as ``step −3``."""
    return place.replace(":-", " −").replace(":", " ")


def _blocks(
    axis: Axes, results: Results, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> None:
    """The other prompts, each block with a colour and a cross of its own, the largest named."""
    others, blocks = results.prompts.labels == 0, np.array(results.prompts.blocks)
    sizes = Counter(blocks[others])
    named = sorted(sizes, key=lambda block: -sizes[block])[:MOST_BLOCKS]
    for i, block in enumerate(block for block in sizes if block in named):
        chosen = others & (blocks == block)
        colour, cross = COLOURS[1 + i % (len(COLOURS) - 1)], CROSSES[i % len(CROSSES)]
        name = f"other: {cut(block, 40)}"
        axis.scatter(x[chosen], y[chosen], 18, colour, marker=cross, linewidths=0.8, label=name)
    if rest := len(sizes) - len(named):
        chosen = others & ~np.isin(blocks, named)
        name = f"other: {rest} more blocks"
        axis.scatter(x[chosen], y[chosen], 14, GREY, marker="x", linewidths=0.8, label=name)


#: What stands under each on the page.
CAPTIONS = {
    "roc": "ROC curves on one noise seed, every detector at its largest n, false-positive rate on"
    " a log axis. Shaded: pointwise 95% bootstrap bands of the best detector and of the metric"
    " (thick lines).",
    "forest": "AUC and TPR of every detector at its largest n, the best on top, with 95% intervals"
    " over prompt clusters (related prompts, which are drawn together).",
    "samples": "AUC and TPR against the number of noise samples n that a score is averaged over."
    " Intervals are in the table.",
    "distributions": "Scores of memorized and other prompts, every detector at its largest n. A"
    " detector orders the prompts well where the colours do not overlap, memorized on the right."
    " What lies right of the dashed line is called memorized at that share of false alarms. The"
    " outermost bars hold what lies beyond.",
    "dose_response": "How many memorized prompts are detected, by how often their picture was"
    " repeated in training. Bars: 95% intervals, perhaps too short for groups of few prompts."
    " Dashed: how often the model reproduces these same prompts' pictures. Prompts that reproduce"
    " a picture only sometimes are in neither class. Controls are left out.",
    "norm_cosine": "The two components of the anisotropy metric for every prompt. u and c are the"
    " predictions without and with it, and c − u the guidance vector. The dashed line is where the"
    " published score calls the named share of the other prompts memorized; the metric calls what"
    " lies above and to the right of it. Steps count from the noisiest, 0; negative ones from the"
    " end. Blocks are where the other prompts come from.",
    "across": "Every detector in every case; grey is the best of a column and what is not"
    " separable from it. Mean ranks with 95% intervals, 1 is the best.",
    "critical_difference": "Detectors at their largest n in the order of AUC and of TPR. Separable"
    " is what the paired bootstrap test tells apart, adjusted by Holm's method over all pairs"
    " shown. Bars: two that have a dot on the same bar are not separable. Shaded, where there are"
    " many: a group is its first detector and what is not separable from that one, of what no"
    " group above has.",
    "verdicts": "Whether the AUC of the row's detector is separably larger or smaller than the"
    " column's, every pair at its largest n, likewise adjusted; the table of pairs says what is so"
    " unadjusted, and by how much. Lines part the groups of the figure of ranks.",
    "cost": "AUC against seconds, detector alone, in one thread. Dotted: the Pareto front, which"
    " no detector beats that costs no more; detectors that are never on it are grey. A name stands"
    " at the n with the largest AUC, small dots at the others. Detectors of equal evaluations"
    " differ in seconds by the noise of the clock.",
}
#: Those that need the whole width of the page.
WIDE = ("across", "critical_difference", "verdicts")
FIGURES: Mapping[str, Callable[[Results, Colours], Figure | None]] = {
    "roc": roc,
    "forest": forest,
    "cost": cost,
    "samples": samples,
    "distributions": distributions,
    "norm_cosine": norm_cosine,
    "dose_response": dose_response,
}
OF_PAIRS: Mapping[str, Callable[[Compared, Colours], Figure]] = {
    "critical_difference": pairs.critical_difference,
    "verdicts": pairs.verdicts,
}
