"""What detectors say of memorized prompts by how often their picture was in the training set.

The count of repetitions comes with the prompt set; other pictures of a case are in ``figures``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anisomem.benchmark.results import Results
from anisomem.datasets.prompts import PromptSet
from anisomem.evaluation import Estimate
from anisomem.report.colours import Colours
from anisomem.report.compared import at_largest_n
from anisomem.report.curves import first_target
from anisomem.report.style import panels
from anisomem.report.tables import percent


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


def dose_response(results: Results, colours: Colours) -> Figure | None:
    """Detection rate of memorized prompts by repetitions of their picture, without controls."""
    target = first_target(results)
    doses = dose_groups(results.prompts)
    detectors = [d for d in at_largest_n(results.detectors) if d.sees_model]
    if target is None or not doses or not detectors:
        return None
    members, chosen = [d.members for d in doses], [results.detectors.index(d) for d in detectors]
    rates = results.evaluated.tpr_of_groups(members, target, chosen)
    figure, axes = panels(len(detectors), 1.55, "repetitions in training")
    for axis, detector, rate in zip(axes.flat, detectors, rates, strict=False):
        if results.prompts.reproduction_rates is not None:
            rates_of = [results.prompts.reproduction_rates[dose.members] for dose in doses]
            reproduced = [known[np.isfinite(known)].mean() for known in rates_of]
            centres = [dose.centre for dose in doses]
            axis.plot(centres, reproduced, "--", color="0.55", linewidth=1)
        _line(axis, doses, rate, colours[detector.name])
        _axes(axis, doses)
        axis.set_title(detector.key, fontsize=7)
    numbers = ", ".join(str(int(dose.members.sum())) for dose in doses)
    figure.suptitle(f"{results.title}; memorized prompts per bin: {numbers}", fontsize=9)
    figure.supylabel(f"share detected at {percent(target)} FPR", fontsize=9)
    handles = [plt.Line2D([], [], color="0.25", marker="o", markersize=3.5, linewidth=1.2)]
    texts = ["detected, in the detector's colour"]
    if results.prompts.reproduction_rates is not None:
        handles.append(plt.Line2D([], [], color="0.55", linestyle="--", linewidth=1))
        texts.append("reproduced by the model")
    figure.legend(handles, texts, fontsize=8, ncols=2, loc="outside lower center")
    return figure


def _line(axis: Axes, doses: Sequence[Dose], estimates: Sequence[Estimate], colour: str) -> None:
    centres = [dose.centre for dose in doses]
    ends = [[e.interval.low for e in estimates], [e.interval.high for e in estimates]]
    axis.vlines(centres, *ends, color=colour, linewidth=1.5, alpha=0.5)
    values = [estimate.value for estimate in estimates]
    axis.plot(centres, values, "o-", color=colour, markersize=3.5, linewidth=1.2)


def _axes(axis: Axes, doses: Sequence[Dose]) -> None:
    edges = sorted({edge for dose in doses for edge in (dose.low, dose.high)})
    every = 1 + len(edges) // 4
    axis.set_xscale("log", base=2)
    axis.set_xticks(edges[::every], [f"{edge:g}" for edge in edges[::every]])
    axis.set(ylim=(-0.04, 1.04))
    axis.set_yticks([0, 0.5, 1])
    axis.tick_params(labelsize=7)
    axis.minorticks_off()
