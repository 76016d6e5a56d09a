"""Estimates with intervals of what is stored of a trial; no model is needed.

The tables are made in ``report``; what is stored is said in ``trial``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np
import pandas as pd

from anisomem.detection.base import Array
from anisomem.evaluation import (
    Interval,
    PairedDifference,
    effective_clusters,
    expanded_quantiles,
    holm,
    paired_difference,
    percentile_interval,
    resample,
)
from anisomem.evaluation.bootstrap import MOST_DRAWS, enough_draws
from anisomem.evaluation.tradeoff import matched, weighted_means
from anisomem.measures.base import Statistic
from anisomem.storage.store import arrays
from anisomem.tradeoff.settings import PLAIN, Setting
from anisomem.tradeoff.trial import Trial

GROUPS = ("memorized", "others")


@dataclass(frozen=True)
class Estimates:
    """A number of every setting, averaged over the prompts of a group.

    Attributes:
        values: ``[K]``.
        draws: The draws of the bootstrap over prompt clusters, ``[K, draws]``.
        units: The effective number of clusters of the group.
        rate: Whether it is a share of something, which may be perfect on its sample.
        among: The effective number of clusters of each setting's pictures that count, ``[K]``;
            None where all do. A setting without any has the value NaN.
    """

    values: Array
    draws: Array
    units: float
    rate: bool
    among: Array | None = None

    def interval(self, k: int) -> Interval:
        """The interval of one setting; of a mean over some pictures, over draws with any."""
        draws, units = self.draws[k], self.units
        if self.among is not None:
            draws, units = draws[np.isfinite(draws)], float(self.among[k])
            if not len(draws):
                return Interval(np.nan, np.nan, "no picture counts")
        if self.rate:
            return percentile_interval(draws, units)
        low, high = expanded_quantiles(draws, units)
        return Interval(low, high, "expanded percentile bootstrap")


@dataclass(frozen=True)
class Matched:
    """Every method's copying where a share of the fidelity is lost at most.

    Attributes:
        loss: The share of the fidelity without a mitigation.
        names: M methods.
        estimates: The estimates of the methods.
    """

    loss: float
    names: Sequence[str]
    estimates: Estimates

    def difference(self, a: int, b: int) -> PairedDifference:
        """Method a's copying minus method b's, on the same prompts."""
        values, draws = self.estimates.values, self.estimates.draws
        units = self.estimates.units
        return paired_difference(values[a], values[b], draws[a], draws[b], units)


class TradeoffResults:
    """What a finished trial says.

    Arguments:
        trial: Everything sampled and measured.

    Raises:
        UserError: No prompt of a class is left without a failure.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial, self.settings, self.failures = trial, trial.settings, trial.failures()
        self.rows = [i for i in range(len(trial.prompts)) if i not in self.failures]
        self.prompts = trial.prompts.subset(self.rows)
        labels, clusters = self.prompts.labels, self.prompts.clusters
        units = effective_clusters(clusters[labels == 1])
        draws = sufficient_draws(trial.config.draws, len(self.methods), units)
        self.weights = resample(labels, clusters, draws, trial.config.bootstrap_seed).weights

    @cached_property
    def statistics(self) -> list[Statistic]:
        """The statistics of all measures, in their order."""
        return [one for measure in self.trial.measures for one in measure.statistics]

    def primary(self, subject: str) -> Statistic | None:
        """The first statistic about something: what methods are compared by."""
        return next((one for one in self.statistics if one.subject == subject), None)

    @cached_property
    def sampled(self) -> dict[str, Array]:
        """Everything recorded while sampling, column to ``[K, N, S]``."""
        frame = self.trial.sampled.read()
        columns = [c for c in frame.columns if c in COLUMNS]
        return self._stored(frame, columns, self.rows)

    def _stored(
        self, frame: pd.DataFrame, columns: Sequence[str], rows: Sequence[int]
    ) -> dict[str, Array]:
        trial, count = self.trial, len(self.trial.seeds)
        keys = [trial.key(setting, i) for setting in self.settings for i in rows]
        shape = (len(self.settings), len(rows), count)
        stored = arrays(frame, keys, trial.seeds[0], dict.fromkeys(columns, count))
        return {name: values.reshape(shape) for name, values in stored.items()}

    def values(self, one: Statistic) -> tuple[Array, list[int]]:
        """A statistic of every prompt, ``[K, n]``, and which of :attr:`prompts` these are."""
        pictures, positions = self._pictures(one, one.column)
        return np.stack([one.reduce(of_setting) for of_setting in pictures]), positions

    def _pictures(self, one: Statistic, column: str) -> tuple[Array, list[int]]:
        """What a statistic's measure says of every picture, ``[K, n, S]``, and which these are."""
        measure = next(m for m in self.trial.measures if one in m.statistics)
        asked = set(self.trial.rows_of(measure))
        positions = [p for p, row in enumerate(self.rows) if row in asked]
        frame = self.trial.measured(measure).read()
        return self._stored(frame, [column], [self.rows[p] for p in positions])[column], positions

    def estimates_of(self, one: Statistic, group: str) -> Estimates | None:
        """A statistic of every setting, or None where no prompt of the group has it."""
        values, positions = self.values(one)
        among = self._pictures(one, one.among)[0] if one.among else None
        return self._estimates(values, positions, group, one.percent, among)

    def estimates_of_sampling(self, column: str, group: str) -> Estimates | None:
        """Something recorded while sampling, averaged over pictures."""
        values = self.sampled[column].mean(axis=2)
        return self._estimates(values, range(len(self.rows)), group)

    def _estimates(
        self,
        values: Array,
        positions: Sequence[int],
        group: str,
        rate: bool = False,
        among: Array | None = None,
    ) -> Estimates | None:
        labels = self.prompts.labels[list(positions)]
        chosen = labels == GROUPS[::-1].index(group)
        if not chosen.any():
            return None
        rows = np.array(positions)[chosen]
        weights = self.weights[:, rows]
        clusters = self.prompts.clusters[rows]
        units, some = effective_clusters(clusters), values[:, chosen]
        means, draws = some.mean(axis=1), weighted_means(some, weights)
        if among is None:
            return Estimates(means, draws, units, rate)
        counts = among[:, chosen].sum(axis=2).astype(int)  # pictures of a prompt that count
        shares = among[:, chosen].mean(axis=2)
        counted = [np.repeat(clusters, of_setting) for of_setting in counts]
        of_some = np.array([effective_clusters(one) if len(one) else 0.0 for one in counted])
        with np.errstate(invalid="ignore"):  # 0 / 0 where none counts
            means, draws = means / shares.mean(axis=1), draws / weighted_means(shares, weights)
        return Estimates(means, draws, units, rate, of_some)

    @cached_property
    def methods(self) -> dict[str, list[int]]:
        """Every mitigation's settings, from the weakest on."""
        names = dict.fromkeys(s.name for s in self.settings if s.name != PLAIN)
        return {n: [k for k, s in enumerate(self.settings) if s.name == n] for n in names}

    @cached_property
    def _compared(self) -> tuple[int, Estimates, int, Estimates] | None:
        """Sign and numbers of copying and of fidelity; times its sign, larger is more of it."""
        compared: list[tuple[int, Estimates]] = []
        for subject in ("copying", "fidelity"):
            one = self.primary(subject)
            if one is None or (estimates := self.estimates_of(one, "memorized")) is None:
                return None
            compared.append((-1 if one.smaller else 1, estimates))
        return (*compared[0], *compared[1])

    @property
    def _plain(self) -> int:
        return self.settings.index(self.trial.plain)

    def matched(self, loss: float) -> Matched | None:
        """Every method's copying at fidelity that is kept; None without measures of both."""
        if self._compared is None:
            return None
        turn_c, c, turn_f, f = self._compared
        values: list[Array] = []
        draws: list[Array] = []
        for settings in self.methods.values():
            curve = [self._plain, *settings]
            for collected, of_c, of_f in ((values, c.values, f.values), (draws, c.draws, f.draws)):
                kept = _fidelity_left(turn_f * of_f[self._plain], loss)
                collected.append(
                    turn_c * matched(turn_c * of_c[curve], turn_f * of_f[curve], kept)
                )
        estimates = Estimates(np.array(values), np.array(draws), c.units, c.rate)
        return Matched(loss, list(self.methods), estimates)

    def chosen(self, loss: float) -> dict[str, Setting]:
        """Every method's setting that copies least while a share of the fidelity is lost at most.

        The weakest where none keeps so much, or without measures of both.
        """
        strongest = {}
        for name, settings in self.methods.items():
            best = settings[0]
            if self._compared is not None:
                turn_c, c, turn_f, f = self._compared
                level = _fidelity_left(turn_f * f.values[self._plain], loss)
                good = [k for k in settings if turn_f * f.values[k] >= level]
                best = min(good, key=(turn_c * c.values).__getitem__, default=best)
            strongest[name] = self.settings[best]
        return strongest


def sufficient_draws(asked: int, methods: int, units: float) -> int:
    """The draws that are asked for, or more where Holm's method over all pairs needs them.

    Where even :data:`MOST_DRAWS` would find no difference, more than are asked for are no use.
    """
    pairs = comb(methods, 2)
    enough = enough_draws(pairs, units) if pairs else 0
    return max(asked, enough) if enough < MOST_DRAWS - 1 else asked


def _fidelity_left(fidelity: Array, loss: float) -> Array:
    """What is left of it where a share is lost."""
    return np.asarray(fidelity - loss * np.abs(fidelity))


def adjusted(differences: Sequence[PairedDifference]) -> list[float]:
    """The p values of all comparisons by Holm's method."""
    return [float(p) for p in holm([one.p_value for one in differences])]


#: What sampling records, with its heading.
COLUMNS = {
    "metric": "metric at x_T",
    "metric_held_out": "metric on other noise",
    "wen": "Wen's norm at x_T",
    "wen_held_out": "Wen's norm on other noise",
    "embeddings_moved": "embeddings moved",
    "noise_moved": "noise moved",
    "nfe": "NFE",
    "backward": "gradients",
    "jvps": "JVP",
    "iterations": "iterations",
    "diverged": "diverged",
    "mitigation_seconds": "s to mitigate",
    "sampling_seconds": "s to sample",
}
