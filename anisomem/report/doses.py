"""What detectors say of memorized prompts by how often their picture was in the training set.

The count of repetitions comes with the prompt set; other pictures of a case are in ``figures``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anisomem.benchmark.results import Results
from anisomem.datasets.prompts import PromptSet
from anisomem.evaluation import Estimate
from anisomem.report.compared import at_largest_n
from anisomem.report.style import COLOURS, panels
from anisomem.report.tables import percent

DETECTED, SCORED = COLOURS[0], COLOURS[1]


@dataclass(frozen=True)
class Dose:
    """Memorized prompts ``members [N]`` with pictures repeated more than low, at most high."""

    low: float
    high: float
    members: npt.NDArray[np.bool_]

    @property
    def centre(self) -> float:
        """The middle of the group on a log axis."""
        return float(np.sqrt(self.low * self.high))


def dose_groups(prompts: PromptSet) -> list[Dose]:
    """Memorized prompts by repetitions of their picture, bins from one power of two to the next.

    Empty bins are left out, and so are prompts whose picture varies or is unknown.
    """
    if prompts.repetitions is None:
        return []
    known = (prompts.labels == 1) & (prompts.repetitions > 0)
    power = np.ceil(np.log2(np.where(known, prompts.repetitions, 1)))
    return [Dose(2.0 ** (k - 1), 2.0**k, known & (power == k)) for k in np.unique(power[known])]


def dose_response(results: Results) -> Figure | None:
    """Detection rate and mean score of memorized prompts by repetitions of their picture."""
    target = next((t for t in results.config.fpr_targets if results.evaluated.resolvable(t)), None)
    doses = dose_groups(results.prompts)
    if target is None or not doses:
        return None
    detectors = at_largest_n(results.detectors)
    members, chosen = [d.members for d in doses], [results.detectors.index(d) for d in detectors]
    rates = results.evaluated.tpr_of_groups(members, target, chosen)
    scores = results.evaluated.scores_of_groups(members, chosen)
    figure, axes = panels(len(detectors), 1.7)
    for axis, detector, rate, score in zip(axes.flat, detectors, rates, scores, strict=False):
        if results.prompts.reproduction_rates is not None:
            rates_of = [results.prompts.reproduction_rates[dose.members] for dose in doses]
            reproduced = [known[np.isfinite(known)].mean() for known in rates_of]
            centres = [dose.centre for dose in doses]
            axis.plot(centres, reproduced, "--", color="0.55", linewidth=1, label="reproduced")
        _line(axis, doses, rate, DETECTED, "o-", "detected")
        own = axis.twinx()
        _line(
            own,
            doses,
            score,
            SCORED,
            "s:",
            "mean score in standard deviations of the others (right)",
        )
        _axes(axis, own, doses)
        axis.set_title(detector.key, fontsize=7)
    handles, names = axes[0, 0].get_legend_handles_labels()
    scored = own.get_legend_handles_labels()
    numbers = ", ".join(str(int(dose.members.sum())) for dose in doses)
    figure.suptitle(
        f"{results.title}, by repetitions of the picture in training\n"
        f"memorized prompts per bin {numbers}",
        fontsize=9,
    )
    figure.supylabel(f"share at {percent(target)} FPR", fontsize=9)
    figure.legend(
        [*handles, *scored[0]],
        [*names, *scored[1]],
        fontsize=8,
        ncols=3,
        loc="outside lower center",
    )
    return figure


def _line(
    axis: Axes,
    doses: Sequence[Dose],
    estimates: Sequence[Estimate],
    colour: str,
    style: str,
    label: str,
) -> None:
    centres = [dose.centre for dose in doses]
    ends = [[e.interval.low for e in estimates], [e.interval.high for e in estimates]]
    axis.vlines(centres, *ends, color=colour, linewidth=1.5, alpha=0.5)
    values = [estimate.value for estimate in estimates]
    axis.plot(centres, values, style, color=colour, markersize=3.5, linewidth=1.2, label=label)


def _axes(rate: Axes, score: Axes, doses: Sequence[Dose]) -> None:
    edges = sorted({edge for dose in doses for edge in (dose.low, dose.high)})
    every = 1 + len(edges) // 4
    rate.set_xscale("log", base=2)
    rate.set_xticks(edges[::every], [f"{edge:g}" for edge in edges[::every]])
    rate.set(ylim=(-0.04, 1.04))
    rate.set_yticks([0, 0.5, 1])
    rate.tick_params(labelsize=7)
    rate.minorticks_off()
    score.locator_params(axis="y", nbins=4)
    score.tick_params(labelsize=7, colors=SCORED)
