"""Curves of detectors: TPR against FPR, and what more noise samples give.

A few detectors have their colours there, the others are grey; other pictures of a case are in
``figures``.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anisomem.benchmark.gallery import headline
from anisomem.benchmark.results import Results
from anisomem.evaluation import Estimate, Summary, auc, roc_band, roc_curve
from anisomem.report.colours import Colours
from anisomem.report.compared import at_largest_n
from anisomem.report.style import GREY, MARKERS, WIDTH, logit_axis, on_logit
from anisomem.report.tables import percent

NAMED = 7  # detectors in colour: more lines are not told apart
Read = Callable[[Summary], Estimate | None]


def first_noise(results: Results) -> str:
    """Which noise is shown, where any was drawn."""
    drawn = any(detector.draws_noise for detector in results.detectors)
    return f", noise seed {results.config.seeds[0]}" if drawn else ""


def first_target(results: Results) -> float | None:
    """The first false-positive rate of the table that its negatives resolve."""
    evaluation = results.evaluated
    return next((t for t in evaluation.targets if evaluation.resolvable(t)), None)


def shown_statistics(results: Results) -> dict[str, Read]:
    """What figures of estimates show: AUC, and the TPR where a target can be resolved."""
    reads: dict[str, Read] = {"AUC": lambda summary: summary.auc}
    if (target := first_target(results)) is not None:
        reads[f"TPR@{percent(target)}FPR"] = lambda summary: summary.tpr[target]
    return reads


def in_colour(ranked: Sequence[str], always: str) -> list[str]:
    """Names that figures of many lines show in colour: the best, and one that they always show.

    Arguments:
        ranked: All names, the best first.
        always: One of them.
    """
    best = [name for name in ranked if name != always][: NAMED - 1]
    return [name for name in ranked if name in (always, *best)]


def roc(results: Results, colours: Colours) -> Figure:
    """ROC curves of every detector at its largest n, false-positive rate on a log axis.

    The best and the headline have their pointwise bootstrap band; more would hide it. The axis
    holds the table's first target, also where there are too few negatives to resolve it.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    labels, evaluation = results.prompts.labels, results.evaluated
    target = results.config.fpr_targets[0]
    first = min(0.5 / evaluation.n_negative, target / 2)  # where no false positive is drawn
    detectors = {d.name: d for d in at_largest_n(results.detectors)}
    scores = {
        name: evaluation.scores[results.detectors.index(d), 0] for name, d in detectors.items()
    }
    areas = {name: auc(values, labels) for name, values in scores.items()}
    ranked = sorted(scores, key=lambda name: -areas[name])
    always = headline(results.detectors).name
    named = in_colour(ranked, always)
    grey = [name for name in ranked if name not in named]
    for name in [*grey, *named]:
        curve, banded = roc_curve(scores[name], labels), name in (ranked[0], always)
        axis.step(
            np.maximum(curve.fpr, first),
            curve.tpr,
            where="post",
            color=colours[name] if name in named else GREY,
            # Dashes in turn, so that equal curves show each other.
            linestyle="--" if name in named and named.index(name) % 2 else "-",
            linewidth=2 if banded else 1.2 if name in named else 0.7,
            label=f"{detectors[name].key} ({areas[name]:.3f})" if name in named else None,
        )
        if banded:
            rates = _rates(evaluation.n_negative)
            band = roc_band(scores[name], labels, evaluation.resampling, rates)
            low, high = [i.low for i in band], [i.high for i in band]
            look = {"color": colours[name], "alpha": 0.16, "linewidth": 0}
            axis.fill_between(rates, low, high, step="post", **look)
    axis.axvline(target, color="0.4", linewidth=0.8, linestyle=":")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    axis.text(1.06 * target, 0.03, f"{percent(target)} FPR", color="0.3", fontsize=8, bbox=box)
    axis.set(
        xscale="log",
        xlim=(first, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
    )
    figure.suptitle(f"{results.title}{first_noise(results)}", fontsize=10)
    if grey:
        text = f"{_others(grey)} ({areas[grey[-1]]:.3f} to {areas[grey[0]]:.3f})"
        axis.plot([], [], color=GREY, linewidth=0.7, label=text)
    figure.legend(title="detector (AUC)", ncols=3, fontsize=8, loc="outside lower center")
    return figure


def _others(names: Sequence[str]) -> str:
    return f"{len(names)} other" + "s" * (len(names) > 1)


def _rates(n_negative: int) -> list[float]:
    """False-positive rates at which a curve may step, thinned to even spacing on a log axis."""
    counts = np.unique(np.geomspace(1, max(1, n_negative - 1), 80).round())
    return [float(rate) for rate in (0.5 / n_negative, *(counts / n_negative))]


def samples(results: Results, colours: Colours) -> Figure | None:
    """AUC and TPR against the number of noise samples n, a line for each detector of several."""
    by_name: dict[str, dict[int, Summary]] = {}
    for detector, summary in zip(results.detectors, results.evaluated.summaries(), strict=True):
        by_name.setdefault(detector.name, {})[detector.n] = summary
    several = {name: dict(sorted(by_n.items())) for name, by_n in by_name.items() if len(by_n) > 1}
    if not several:
        return None
    reads = shown_statistics(results)
    figure, axes = plt.subplots(
        1, len(reads), figsize=(WIDTH, 3.8), layout="constrained", squeeze=False
    )
    last = {name: by_n[max(by_n)].auc.value for name, by_n in several.items()}
    ranked = sorted(several, key=lambda name: -last[name])
    always = headline(results.detectors).name
    named = in_colour(ranked, always if always in several else ranked[0])
    grey = [name for name in ranked if name not in named]
    sizes = sorted({n for by_n in several.values() for n in by_n})
    for axis, (name, read) in zip(axes[0], reads.items(), strict=True):
        for other in grey:
            _line(axis, several[other], read, {"color": GREY, "linewidth": 0.7})
        for k, one in enumerate(named):
            look = {"color": colours[one], "marker": MARKERS[k], "markersize": 4, "linewidth": 1.3}
            _line(axis, several[one], read, {**look, "label": one, "zorder": 3})
        axis.set(xscale="log", xlabel="noise samples n", ylabel=name)
        axis.set_xticks(sizes, [str(n) for n in sizes])
        axis.minorticks_off()
        axis.grid(color="0.93")
    logit_axis(axes[0, 0], "y")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    if grey:
        handles.append(plt.Line2D([], [], color=GREY, linewidth=0.7))
        texts.append(_others(grey))
    figure.legend(handles, texts, ncols=4, fontsize=8, loc="outside lower center")
    figure.suptitle(f"{results.title}, by the number of noise samples", fontsize=10)
    return figure


def _line(axis: Axes, by_n: Mapping[int, Summary], read: Read, look: Mapping[str, object]) -> None:
    """A detector's line; its intervals are in the table, and would hide each other here."""
    values = [estimate.value for summary in by_n.values() if (estimate := read(summary))]
    axis.plot(list(by_n), [on_logit(value) for value in values], **look)  # type: ignore[arg-type]
