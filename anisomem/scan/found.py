"""What a scan has found: scores, p-values, what is flagged, what the second stage says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import numpy.typing as npt

from anisomem.detection.alone import scores_alone
from anisomem.detection.base import Array, Detector
from anisomem.errors import UserError
from anisomem.evaluation import conformal
from anisomem.evaluation.conformal import Threshold
from anisomem.evaluation.interval import Interval
from anisomem.scan.scan import Scan, Stage
from anisomem.storage.store import FAILURE, arrays

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Scores of a stage.

    Attributes:
        rows: The entries that are scored, in order.
        values: The scores by detector, NaN where the model failed.
        failures: Why entries have no score.
    """

    rows: Rows
    values: Mapping[str, Array]
    failures: Mapping[int, str]


@dataclass(frozen=True)
class Confirmed:
    """What a detector of the second stage says.

    Attributes:
        detector: Its key.
        scores: Its scores of the distinct prompts, NaN where it was not asked; ``[N]``.
        calibration: Its scores of ordinary prompts.
        threshold: The score that few of these exceed; None where they are too few to say.
        top, above: How many of the highest prompts it was asked about, and how many exceed it.
        flagged, agreed: The same of the flagged ones among these.
        audited, missed: How many of the rest it was asked about, and how many exceed it.
        rest: How many prompts are not among the highest.
        share: Of the rest, the share that exceeds it lies here; None without an audit.
        failed: How many of all the model failed on.
    """

    detector: str
    scores: Array
    calibration: Array
    threshold: Threshold | None
    top: int
    above: int
    flagged: int
    agreed: int
    audited: int
    missed: int
    rest: int
    share: Interval | None
    failed: int


class Found:
    """What the first stage has found, once it is recorded.

    Arguments:
        scan: The scan.

    Attributes:
        scan: What was asked.
        scores: Of every entry.
    """

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.scores = scores_of(scan.first)
        for rows, what in (
            (self.deciding, "prompt; run it again with on_failure=retry"),
            (self.calibration, "ordinary prompt; give calibration=FILE with others"),
        ):
            if not np.isfinite(rows).any():
                raise UserError(f"the model returned NaN or infinity for every {what}")

    @property
    def count(self) -> int:
        """How many distinct prompts were scanned, N."""
        return len(self.scan.listed.texts)

    @property
    def deciding(self) -> Array:
        """The score that decides, of every distinct prompt; ``[N]``."""
        return self.scores.values[self.scan.deciding.key][: self.count]

    @cached_property
    def calibration(self) -> Array:
        """The same of the ordinary prompts that have one."""
        values = self.scores.values[self.scan.deciding.key][self.count :]
        return values[np.isfinite(values)]

    @cached_property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which distinct prompts have a score, ``[N]``."""
        return np.isfinite(self.deciding)

    @cached_property
    def p(self) -> Array:
        """Conformal p-values, NaN where there is no score; ``[N]``."""
        p = np.full(self.count, np.nan)
        some = self.deciding[self.scored]
        p[self.scored] = conformal.p_values(some, self.calibration, self.scan.config.scan.seed)
        return p

    @cached_property
    def q(self) -> Array:
        """The rates of false discoveries from which on prompts are flagged, ``[N]``."""
        q = np.full(self.count, np.nan)
        q[self.scored] = conformal.q_values(self.p[self.scored])
        return q

    @cached_property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which distinct prompts are flagged, ``[N]``."""
        flagged = np.zeros(self.count, bool)
        flagged[self.scored] = conformal.flagged(self.p[self.scored], self.scan.config.fdr)
        return flagged

    @cached_property
    def threshold(self) -> Threshold | None:
        """The score that few ordinary prompts exceed; None where they are too few to say."""
        return threshold_of(self.calibration, self.scan.config.fpr_targets[0])

    @cached_property
    def order(self) -> Rows:
        """The distinct prompts with a score, the highest first, equal ones as they came."""
        kept = np.flatnonzero(self.scored)
        return kept[np.lexsort((kept, -self.deciding[kept], self.p[kept]))]

    @property
    def failures(self) -> Mapping[int, str]:
        """Why distinct prompts have no score."""
        return {row: why for row, why in self.scores.failures.items() if row < self.count}

    @property
    def top(self) -> Rows:
        """The prompts that the second stage is asked about as they are the highest."""
        return self.order[: ceil(self.scan.config.scan.share * len(self.order) - 1e-9)]

    @property
    def audited(self) -> Rows:
        """Some of the others, drawn at random."""
        rest = np.sort(self.order[len(self.top) :])
        rng = np.random.default_rng(self.scan.config.scan.seed)
        return rng.permutation(rest)[: self.scan.config.scan.audit]

    @property
    def _calibrating(self) -> Rows:
        """The entries of ordinary prompts that it is asked about, drawn at random."""
        rng = np.random.default_rng(self.scan.config.scan.seed)
        drawn = rng.permutation(self.scan.size - self.count)[: self.scan.config.scan.audit]
        return np.sort(drawn) + self.count

    @cached_property
    def second(self) -> Stage | None:
        """The stage that confirms, None where no detector costs so much."""
        rows = {*self.top.tolist(), *self.audited.tolist(), *self._calibrating.tolist()}
        return self.scan.second(sorted(rows))

    @cached_property
    def confirmed(self) -> list[Confirmed]:
        """What the detectors of the second stage say, once it is recorded."""
        if not (stage := self.second):
            return []
        found = scores_of(stage)
        return [
            self._confirmed(one, found.rows, found.values[one.key]) for one in stage.configured
        ]

    def _confirmed(self, detector: Detector, rows: Rows, values: Array) -> Confirmed:
        whole = np.full(self.scan.size, np.nan)
        whole[rows] = values
        ordinary = whole[self.count :]
        ordinary = ordinary[np.isfinite(ordinary)]
        threshold = threshold_of(ordinary, self.scan.config.fpr_targets[0])
        bound = threshold.value if threshold else np.inf
        top, audited = whole[self.top], whole[self.audited]
        flagged = top[self.flagged[self.top]]
        asked, missed = int(np.isfinite(audited).sum()), int((audited > bound).sum())
        return Confirmed(
            detector.key,
            whole[: self.count],
            ordinary,
            threshold,
            int(np.isfinite(top).sum()),
            int((top > bound).sum()),
            int(np.isfinite(flagged).sum()),
            int((flagged > bound).sum()),
            asked,
            missed,
            len(self.order) - len(self.top),
            conformal.share_interval(missed, asked) if asked and threshold else None,
            int(np.isnan(values).sum()),
        )


def threshold_of(ordinary: Array, rate: float) -> Threshold | None:
    """The threshold at a false-positive rate, None where too few prompts say so little."""
    if len(ordinary) < conformal.calibration_needed(1, rate):
        return None
    return conformal.threshold(ordinary, rate)


def scores_of(stage: Stage) -> Scores:
    """The scores of a stage that is recorded, the mean over noise seeds.

    Raises:
        UserError: A detector's score is not finite.
    """
    frame, config = stage.store.read(), stage.config
    ids = stage.ids
    failed = frame[frame[FAILURE].notna()].drop_duplicates("prompt_id")
    reasons = dict(zip(failed["prompt_id"], failed[FAILURE], strict=True))
    kept = [i for i, key in enumerate(ids) if key not in reasons] if reasons else range(len(ids))
    totals = {one.key: np.full(len(ids), np.nan) for one in stage.configured}
    if kept:
        names, texts = [ids[i] for i in kept], [stage.texts[i] for i in kept]
        for one in stage.configured:
            totals[one.key][kept] = 0
        for seed in config.seeds:
            components = arrays(frame, names, seed, stage.samples)
            for one in stage.configured:
                own = {name: components[name] for name in one.component_names}
                scores = scores_alone(one, own, texts, config.stands_for, seed)
                if not np.isfinite(scores).all():
                    raise UserError(f"{one.key} has scores that are not finite numbers")
                totals[one.key][kept] += scores / len(config.seeds)
    failures = {stage.rows[i]: reasons[key] for i, key in enumerate(ids) if key in reasons}
    return Scores(np.asarray(stage.rows), totals, failures)


def highest(found: Found, count: int) -> Sequence[int]:
    """The distinct prompts to show: flagged ones first, then the highest; at most ``count``."""
    return [int(i) for i in found.order[:count]]
