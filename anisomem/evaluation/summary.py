"""What a table says about each detector, and about each pair of them.

It calls the other files of this package in the order that a table needs; Markdown and CSV are made
in :mod:`anisomem.report.tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.bands import tpr_by_group
from anisomem.evaluation.bootstrap import PairedDifference, paired_difference, statistics
from anisomem.evaluation.curves import (
    allowed_false_positives,
    resolution_note,
    tpr_at_fpr,
    tpr_by_rules,
)
from anisomem.evaluation.delong import Placements, holm, logit_interval
from anisomem.evaluation.estimates import Comparison, Estimate, Summary
from anisomem.evaluation.inputs import FloatArray, IntArray, clusters_by_class
from anisomem.evaluation.interval import (
    Interval,
    effective_clusters,
    percentile_interval,
    tpr_interval,
    wilson_interval,
)
from anisomem.evaluation.resampling import Resampling, resample
from anisomem.evaluation.ties import Ties, ties

#: What simulations say of DeLong's method in such a case, docs/statistics.md.
CLUSTERED = (
    "takes prompts for independent, but they come in clusters, where its 95% intervals covered as"
    " little as 28% in simulations"
)

#: Where intervals covered less than 93% there: fewer effective clusters of errors (of hits, below
#: one half) or of missed prompts, or false positives allowed, than this.
FEW_ERRORS, FEW_MISSED, FEW_ALLOWED = 1.5, 3.0, 2
NARROW = "the 95% interval may cover less than 93%: {}"


class Evaluation:
    """Estimates, intervals and comparisons of detectors on one set of prompts.

    All of them come from the same stratified cluster-bootstrap draws.

    Arguments:
        scores: ``[D, S, N]`` for D detectors, S noise seeds and N prompts.
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``.
        targets: False-positive rates, fractions.
        draws, seed: Of the bootstrap.
        resampling: Its samples of these labels and clusters, where they are drawn already.

    Raises:
        ValueError: What :func:`anisomem.evaluation.statistics` refuses.
    """

    def __init__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        clusters: npt.ArrayLike,
        targets: Sequence[float] = (0.01, 0.03),
        draws: int = 10_000,
        seed: int = 0,
        resampling: Resampling | None = None,
    ) -> None:
        self.scores = np.asarray(scores, dtype=np.float64)
        self.labels = np.asarray(labels)
        self.clusters = np.asarray(clusters)
        self.targets = list(targets)
        self.resampling = resampling or resample(self.labels, clusters, draws, seed)
        detectors, seeds, prompts = self.scores.shape
        flat = self.scores.reshape(-1, prompts)
        drawn = statistics(flat, self.labels, self.resampling, self.targets)
        # The statistic is the mean over noise seeds, draw by draw.
        shape = (len(self.targets), detectors, seeds, drawn.auc.shape[-1])
        self.auc_draws = _mean_of_seeds(drawn.auc.reshape(shape[1:]))
        self.tpr_draws = _mean_of_seeds(drawn.tpr.reshape(shape))
        self._stricter_draws = _mean_of_seeds(drawn.stricter_tpr.reshape(shape))

    @property
    def clustered(self) -> bool:
        """Whether prompts share clusters, so that they are not independent."""
        units = self.resampling.positive_units, self.resampling.negative_units
        return units != (self.n_positive, self.n_negative)

    @property
    def n_positive(self) -> int:
        """The number of memorized prompts."""
        return int((self.labels == 1).sum())

    @property
    def n_negative(self) -> int:
        """The number of other prompts."""
        return int((self.labels == 0).sum())

    @property
    def _has_variance(self) -> bool:
        """Whether DeLong's variance exists: it needs two prompts of each class."""
        return min(self.n_positive, self.n_negative) > 1

    def resolvable(self, target: float) -> bool:
        """Whether one false positive at most fits into the target."""
        return bool(allowed_false_positives(target, self.n_negative) >= 1)

    def of(self, detectors: Sequence[int]) -> Evaluation:
        """The same of some detectors, given by their indices; nothing is drawn anew."""
        chosen, some = list(detectors), copy(self)
        some.scores, some.auc_draws = self.scores[chosen], self.auc_draws[chosen]
        some.tpr_draws = self.tpr_draws[:, chosen]
        some._stricter_draws = self._stricter_draws[:, chosen]
        some._summaries = [self._summaries[d] for d in chosen]
        return some

    def summaries(self) -> list[Summary]:
        """Summarises every detector, in their order."""
        return list(self._summaries)

    @cached_property
    def _summaries(self) -> list[Summary]:
        return [self._summary(d) for d in range(len(self.scores))]

    def comparisons(self, of: Sequence[int] | None = None) -> list[Comparison]:
        """Every pair of detectors once, p values adjusted over the pairs.

        Arguments:
            of: Indices of the detectors to compare; all if not given.
        """
        chosen = range(len(self.scores)) if of is None else of
        pairs = [(a, b) for i, a in enumerate(chosen) for b in list(chosen)[i + 1 :]]
        areas = [self.auc_difference(a, b) for a, b in pairs]
        rates = [self.tpr_differences(a, b) for a, b in pairs]
        adjusted = holm([area.p_value for area in areas])
        adjusted_rates = {
            t: holm([rate[t].p_value for rate in rates]).tolist()
            for t in self.targets
            if self.resolvable(t)
        }
        delongs: list[float | None] = [None] * len(pairs)
        if self.scores.shape[1] == 1 and self._has_variance:
            placements = Placements.of(self.scores[:, 0], self.labels)
            raw = [placements.paired(a, b) for a, b in pairs]
            delongs = [float(p) for p in holm(raw)]
        return [
            Comparison(
                *pair,
                areas[i],
                float(adjusted[i]),
                delongs[i],
                rates[i],
                {t: p_values[i] for t, p_values in adjusted_rates.items()},
            )
            for i, pair in enumerate(pairs)
        ]

    def tpr_of_groups(
        self, members: npt.ArrayLike, target: float, of: Sequence[int]
    ) -> list[list[Estimate]]:
        """The TPR of groups of memorized prompts at the threshold of all negatives.

        Arguments:
            members: Booleans ``[G, N]``, every group with a memorized prompt.
            target: False-positive rate, resolvable.
            of: Indices of the detectors.

        Returns:
            One list of G estimates per detector.
        """
        groups = np.asarray(members, dtype=bool) & (self.labels == 1)
        rows = self.scores[list(of)]
        flat = rows.reshape(-1, rows.shape[-1])
        drawn = tpr_by_group(flat, self.labels, self.resampling, groups, target)
        draws = drawn.reshape(len(groups), *rows.shape[:2], -1).mean(axis=2)
        units = [effective_clusters(self.clusters[group]) for group in groups]
        return [
            [
                Estimate.of_seeds(
                    [_group_tpr(of_seed, self.labels, group, target) for of_seed in rows[i]],
                    percentile_interval(draws[g, i][np.isfinite(draws[g, i])], units[g]),
                )
                for g, group in enumerate(groups)
            ]
            for i in range(len(rows))
        ]

    def auc_difference(self, a: int, b: int) -> PairedDifference:
        """Detector a minus detector b in AUC, on the same draws."""
        area_a, area_b = (self._summaries[d].auc.value for d in (a, b))
        draws = self.auc_draws
        return paired_difference(area_a, area_b, draws[a], draws[b], self.resampling.units)

    def tpr_differences(self, a: int, b: int) -> dict[float, PairedDifference]:
        """The same in TPR at each resolvable target."""
        rates_a, rates_b = self._summaries[a].tpr, self._summaries[b].tpr
        return {
            target: paired_difference(
                rate_a.value,
                rate_b.value,
                self.tpr_draws[k, a],
                self.tpr_draws[k, b],
                self.resampling.positive_units,
            )
            for k, target in enumerate(self.targets)
            if (rate_a := rates_a[target]) and (rate_b := rates_b[target])
        }

    def _summary(self, d: int) -> Summary:
        rows = self.scores[d]
        tied, placements = ties(rows, self.labels), Placements.of(rows, self.labels)
        points = np.array([tpr_by_rules(row, self.labels, self.targets) for row in rows])
        released, strict = (
            {
                target: float(np.mean(points[:, rule, k].tolist()))
                for k, target in enumerate(self.targets)
                if self.resolvable(target)
            }
            for rule in (1, 2)
        )
        return Summary(
            self._auc(d, placements, tied),
            self._auc_delong(placements),
            {
                target: self._tpr(k, d, points[:, 0, k].tolist(), tied)
                if self.resolvable(target)
                else None
                for k, target in enumerate(self.targets)
            },
            released,
            strict,
            self.n_negative,
            tied,
        )

    def _auc(self, d: int, placements: Placements, tied: Ties) -> Estimate:
        areas, units = placements.aucs, self.resampling.units
        value = float(np.mean(areas))
        each = self.resampling.positive_units, self.resampling.negative_units
        degrees = placements.degrees(*self._clusters_by_class, each)
        interval = wilson_interval(value, self.auc_draws[d], units, degrees)
        if value in (0, 1):  # then so is every draw
            pairs = "no inversion" if value == 1 else "nothing but inversions"
            perfect = f"{pairs} among {self.n_positive} x {self.n_negative} pairs"
            every = f" at any of {len(areas)} noise seeds" if len(areas) > 1 else ""
            interval = replace(interval, note=perfect + every)
        if tied.constant:
            return Estimate.of_seeds(areas, replace(interval, note=None), tied.note)
        errors, narrow = min(value, 1 - value) * units, None
        if 0 < errors < FEW_ERRORS:  # a score and its mirror image are known alike
            kind = "errors" if value > 0.5 else "hits"
            narrow = NARROW.format(f"{errors:.2g} of {units:.3g} effective clusters of {kind}")
        return Estimate.of_seeds(areas, interval, narrow, tied.note)

    def _tpr(self, k: int, d: int, points: Sequence[float], tied: Ties) -> Estimate:
        target, units = self.targets[k], self.resampling.positive_units
        interval = tpr_interval(self.tpr_draws[k, d], self._stricter_draws[k, d], units)
        missed, narrow = (1 - float(np.mean(points))) * units, None
        if allowed_false_positives(target, self.n_negative) < FEW_ALLOWED:
            narrow = NARROW.format("the threshold is at a single prompt")
        elif 0 < missed < FEW_MISSED:
            narrow = NARROW.format(f"{missed:.2g} of {units:.3g} effective clusters missed")
        resolution = resolution_note(target, self.n_negative)
        return Estimate.of_seeds(points, interval, resolution, narrow, tied.note)

    @cached_property
    def _clusters_by_class(self) -> tuple[IntArray, IntArray]:
        """The number of each prompt's cluster, of memorized prompts and of the others."""
        return clusters_by_class(self.clusters, self.labels == 1)

    def _auc_delong(self, placements: Placements) -> Interval | None:
        if len(placements.below) > 1 or not self._has_variance:
            return None
        areas, covariance = placements.delong()
        interval = logit_interval(
            float(areas[0]), float(covariance[0, 0]), self.n_positive, self.n_negative
        )
        if not self.clustered:
            return interval
        known = f"{interval.note}; " if interval.note else ""
        return replace(interval, note=known + CLUSTERED)


def _mean_of_seeds(draws: FloatArray) -> FloatArray:
    """``[..., S, draws]`` to ``[..., draws]``; of one seed itself, without a copy."""
    return draws[..., 0, :] if draws.shape[-2] == 1 else np.asarray(draws.mean(axis=-2))


def _group_tpr(
    row: FloatArray, labels: npt.NDArray[np.generic], group: npt.NDArray[np.bool_], target: float
) -> float:
    kept = group | (labels == 0)
    return tpr_at_fpr(row[kept], labels[kept], target)
