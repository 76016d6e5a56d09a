"""What a recording says, with intervals over prompt clusters; no model is needed.

What is recorded is in ``record``; verdicts are in ``claims`` and pictures in ``figures``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np
import numpy.typing as npt

from anisomem.evaluation import (
    Estimate,
    Evaluation,
    Interval,
    PairedDifference,
    Resampling,
    auc_and_tpr,
    folds,
    resample,
)
from anisomem.geometry.alignment import InputAlignment
from anisomem.geometry.overlap import kullback_leibler, total_variation
from anisomem.geometry.record import HIGH, LATENTS, LOW, Recording

Array = npt.NDArray[np.float64]

#: Name to scores ``[N, steps]``; norms of outputs and of scores order prompts alike at a step.
MEASURES: Mapping[str, Callable[[Recording, str], Array]] = {
    "norm": lambda r, on: r.alignment(on).norm,
    "cosine, scores": lambda r, on: r.alignment(on, "score").cosine,
    "cosine, outputs": lambda r, on: r.alignment(on).cosine,
    "cosine by position, scores": lambda r, on: r.position_mean(on, "score"),
    "cosine by position, outputs": lambda r, on: r.position_mean(on),
}
RELEASED = "cosine by position, outputs"
OVERLAP_DRAWS = 500
UNDEFINED = Estimate(nan, Interval(nan, nan, "not defined"), None)
#: What is compared on other inputs.
PARTS: Mapping[str, Callable[[InputAlignment], Array]] = {
    "cos(u, d)": lambda a: a.cosine,
    "cos(x, d)": lambda a: a.along_input,
    "cos(u⊥, d)": lambda a: a.along_rest,
    "norm": lambda a: a.norm,
}


@dataclass(frozen=True)
class Overlap:
    """How far the two classes' distributions overlap at a step.

    Attributes:
        tv: Total variation.
        draws: The total variation on the bootstrap draws, the same prompts at every step,
            ``[draws]``.
        kl: Kullback-Leibler divergence of memorized from other prompts.
        error: Its standard error.
    """

    tv: float
    draws: Array
    kl: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """95%, of the total variation."""
        low, high = np.quantile(self.draws, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True)
class Pairs:
    """Which steps to read norm and cosine at, in equal weights.

    Attributes:
        auc: The AUC of every pair on the prompts themselves, ``[norm step, cosine step]``.
        best: The best pair of it.
        chosen: The pair that each fold's other prompts choose.
        nested, published: AUC of held-out scores, standardised by the other folds' negatives.
        gain: Nested minus published, on the same draws.
    """

    auc: Array
    best: tuple[int, int]
    chosen: list[tuple[int, int]]
    nested: Estimate
    published: Estimate
    gain: PairedDifference

    @property
    def optimism(self) -> float:
        """What choosing on the tested prompts adds to the AUC."""
        return float(self.auc.max()) - self.nested.value


class Analysis:
    """Statistics of one recording.

    Arguments:
        recording: A complete recording.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording, self.name, self.title = recording, recording.name, recording.title
        self.labels = recording.prompts.labels
        self.clusters = recording.prompts.clusters
        self.memorized = self.labels == 1
        self.steps = len(recording.timesteps)

    @cached_property
    def resampling(self) -> Resampling:
        """The bootstrap draws of the table."""
        config = self.recording.config
        return resample(self.labels, self.clusters, config.draws, config.bootstrap_seed)

    def evaluation(
        self, scores: Array, rows: npt.NDArray[np.intp] | slice = slice(None)
    ) -> Evaluation:
        """Evaluates scores ``[D, n]`` of some prompts; all if not given."""
        labels, clusters = self.labels[rows], self.clusters[rows]
        config = self.recording.config
        table = (config.fpr_targets, config.draws, config.bootstrap_seed)
        return Evaluation(scores[:, None], labels, clusters, *table)

    @cached_property
    def areas(self) -> dict[tuple[str, str], list[Estimate]]:
        """AUC by measure and latents, a list over steps; NaN where the measure is not defined."""
        areas = {}
        for on in LATENTS:
            scores = np.concatenate([read(self.recording, on).T for read in MEASURES.values()])
            # At the first step of flow matching a score knows no prompt, and has no cosine.
            defined = ~np.isnan(scores).all(axis=1)  # a few prompts without one are refused
            known = iter(self.evaluation(scores[defined]).summaries())
            estimates = [next(known).auc if one else UNDEFINED for one in defined.tolist()]
            for i, measure in enumerate(MEASURES):
                areas[measure, on] = estimates[i * self.steps : (i + 1) * self.steps]
        return areas

    def mean(self, values: Array, memorized: bool) -> tuple[Array, Array, Array]:
        """A class's mean of ``[N, ...]`` over prompts, and the ends of its 95% interval."""
        rows = self.memorized == memorized
        weights = self.resampling.weights[:, rows].astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        draws = np.tensordot(weights, values[rows], axes=1)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        return values[rows].mean(axis=0), low, high

    def median(self, values: Array, memorized: bool) -> Estimate:
        """A class's median of ``[N]``, weighted in every draw, with its interval."""
        rows = self.memorized == memorized
        order = np.argsort(values[rows])
        weights = self.resampling.weights[:, rows][:, order].astype(np.float64)
        reached = weights.cumsum(axis=1) >= weights.sum(axis=1, keepdims=True) / 2
        draws = values[rows][order][reached.argmax(axis=1)]
        low, high = np.quantile(draws, [0.025, 0.975])
        interval = Interval(float(low), float(high), "percentile bootstrap")
        return Estimate(float(np.median(values[rows])), interval, None)

    def parts(self, aligned: InputAlignment) -> dict[str, Estimate]:
        """AUC of each of :data:`PARTS`, of inner products ``[N]``."""
        scores = np.stack([read(aligned) for read in PARTS.values()])
        summaries = self.evaluation(scores).summaries()
        return {name: s.auc for name, s in zip(PARTS, summaries, strict=True)}

    @cached_property
    def inputs(self) -> dict[str, dict[float, dict[str, Estimate]]]:
        """:meth:`parts` on other pure noise, by what is varied and its value."""
        return {
            name: {value: self.parts(aligned) for value, aligned in sorted(varied.items())}
            for name, varied in self.recording.inputs.items()
        }

    @cached_property
    def overlaps(self) -> dict[str, list[Overlap]]:
        """How far the classes overlap in the norm, by latents, a list over steps."""
        config = self.recording.config
        resampling = resample(self.labels, self.clusters, OVERLAP_DRAWS, config.bootstrap_seed)
        by_latents: dict[str, list[Overlap]] = {"noise": [], "noised": []}
        for on, steps in by_latents.items():
            for v in MEASURES["norm"](self.recording, on).T:
                tv, draws = total_variation(v, self.labels, resampling)
                of_kl = kullback_leibler(v[self.memorized], v[~self.memorized])
                steps.append(Overlap(tv, draws, *of_kl))
        return by_latents

    def pairs(self, on: str) -> Pairs:
        """The best steps on some latents, chosen on all prompts and in nested selection."""
        norm, cosine = (MEASURES[m](self.recording, on).T for m in ("norm", RELEASED))
        fold = folds(self.labels, self.clusters)
        nested, published = np.empty((2, len(self.labels)))
        chosen = []
        for k in range(fold.max() + 1):
            rest, held = fold != k, fold == k
            known, new = (self._standardised(t, rest) for t in (norm, cosine))
            best = _best(_map(known[:, rest], new[:, rest], self.labels[rest]))
            chosen.append(best)
            nested[held] = known[best[0], held] + new[best[1], held]
            published[held] = known[HIGH, held] + new[LOW, held]
        everyone = np.full(len(self.labels), True)
        a, b = (self._standardised(t, everyone) for t in (norm, cosine))
        whole = _map(a, b, self.labels)
        evaluation = self.evaluation(np.stack([nested, published]))
        ours, theirs = (summary.auc for summary in evaluation.summaries())
        gain = evaluation.auc_difference(0, 1)
        return Pairs(whole, _best(whole), chosen, ours, theirs, gain)

    def _standardised(self, term: Array, rows: npt.NDArray[np.bool_]) -> Array:
        """The term in standard deviations of some prompts' negatives."""
        negatives = term[:, rows & ~self.memorized]
        mean, std = negatives.mean(axis=1, keepdims=True), negatives.std(axis=1, keepdims=True)
        return np.asarray((term - mean) / std)

    @cached_property
    def spectra(self) -> Spectra:
        """The spectra of the prompts that have them."""
        return Spectra(self.recording)


class Spectra:
    """Jacobians of a recording by prompt, level, latents and conditioning."""

    def __init__(self, recording: Recording) -> None:
        stored = list(recording.spectra())
        self.levels = recording.extent.levels
        self.rows = [row for row, _ in stored if row is not None]
        self.by_row = dict(stored)
        self.labels = recording.prompts.labels[self.rows]
        self.clusters = recording.prompts.clusters[self.rows]

    def values(self, name: str, level: int, on_noise: bool, conditional: bool) -> Array:
        """A column over the prompts ``[n, ...]``; without prompt on noise ``[1, ...]``."""
        rows = self.rows if conditional or not on_noise else [None]
        column = []
        for row in rows:
            columns = self.by_row[row]
            (place,) = np.flatnonzero(
                (columns["level"] == level)
                & (columns["on_noise"] == on_noise)
                & (columns["conditional"] == conditional)
            )
            column.append(columns[name][place])
        return np.array(column)

    def resampling(self, draws: int, seed: int) -> Resampling:
        """The bootstrap draws of these prompts."""
        return resample(self.labels, self.clusters, draws, seed)


def _map(norm: Array, cosine: Array, labels: npt.NDArray[np.generic]) -> Array:
    """AUC of every pair's sum."""
    return np.stack([auc_and_tpr(row + cosine, labels, 0.05)[0] for row in norm])


def _best(areas: Array) -> tuple[int, int]:
    i, j = np.unravel_index(int(areas.argmax()), areas.shape)
    return int(i), int(j)
