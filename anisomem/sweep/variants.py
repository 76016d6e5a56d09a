"""Sweeps over a setting of the metric that changes what is recorded.

Settings that change only the score are in ``gamma``; steps are in ``timesteps``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.detection.anisotropy import COSINES, Anisotropy
from anisomem.detection.needs import LATENTS
from anisomem.detection.options import choices
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Difference, Line, Result

HEADINGS = {"cos_at": "cosine at", "cos_latents": "cosine on"}


@dataclass(frozen=True)
class Variants:
    """Every combination of some settings under several weightings.

    A line is compared with the one that has the first value of the last setting, and the same of
    all else.

    Attributes:
        axes: Setting of the metric to its values.
        reference: What the differences are to, in words.
        notes: What a reader must know.
        without: Weightings that the settings do not touch.
    """

    axes: Mapping[str, Sequence[Any]]
    reference: str
    notes: Sequence[str] = ()
    without: Sequence[str] = ()

    def nodes(self, config: Config) -> dict[str, grids.Node]:
        """A detector for every line."""
        return grids.crossed(self.axes, config.stands_for, self.without)

    def result(self, all_results: Sequence[Results]) -> Result:
        """A line and a mark for every detector."""
        lines = [line for results in all_results for line in self._lines(results)]
        drawn = {
            results.name: partial(
                figures.forest, results.title, [li for li in lines if li.case == results.name]
            )
            for results in all_results
        }
        return Result(lines, self.reference, self.notes, drawn)

    def _lines(self, results: Results) -> list[Line]:
        names = [detector.name for detector in results.detectors]
        headings = [*(HEADINGS.get(axis, axis) for axis in self.axes), "weights"]
        first = str(list(self.axes.values())[-1][0])
        evaluation = results.evaluated
        lines = []
        for i, summary in enumerate(evaluation.summaries()):
            *values, weights = names[i].split("; ")
            reference = names.index("; ".join([*values[:-1], first, weights]))
            difference = None if i == reference else Difference.between(evaluation, i, reference)
            place = dict(zip(headings, [*values, weights], strict=True))
            lines.append(Line(results.name, place, summary, difference))
        return lines


N = Variants({"n": [1, 2, 4, 8, 16]}, "n = 1 under the same weights")
NORMALISATION = Variants(
    {name: choices(Anisotropy, name) for name in ("convention", "normalisation")},
    "no normalisation under the same convention and weights",
    [
        "Normalised components have other units, so weights that were published for raw ones mean"
        " something else there; equal and fitted weights do not depend on units."
    ],
)
MODE = Variants(
    {"mode": choices(Anisotropy, "mode")},
    "x,c|x under the same weights",
    [
        f"{', '.join(f'{mode}: {words}' for mode, words in COSINES.items())}; u and c are the"
        " predictions without and with the prompt."
    ],
    without=["norm alone"],
)
LATENTS_OF_COSINE = Variants(
    {"cos_at": ["step:-3", "step:-1"], "cos_latents": LATENTS},
    "pure noise at the same step under the same weights",
    [
        "guided, unguided: the cosine is read on the latents that a 50-step DDIM trajectory, with"
        " guidance 7.5 or without, has at the step."
    ],
    without=["norm alone"],
)
