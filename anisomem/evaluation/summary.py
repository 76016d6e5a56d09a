"""What a table says about each detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.bootstrap import percentile_interval, resample, statistics
from anisomem.evaluation.curves import auc, resolution_note, tpr_at_fpr
from anisomem.evaluation.interval import Interval


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval over prompt clusters.

    Attributes:
        value: The mean over noise seeds.
        interval: Of that mean, over prompts.
        seed_std: Standard deviation over noise seeds (ddof 1), None for a single seed.
        note: What limits the number, if anything does.
    """

    value: float
    interval: Interval
    seed_std: float | None
    note: str | None = None


@dataclass(frozen=True)
class Summary:
    """A detector's row: AUC and the TPR at each target FPR (None below 1 / n_neg)."""

    auc: Estimate
    tpr: Mapping[float, Estimate | None]


def summarise(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    clusters: npt.ArrayLike,
    targets: Sequence[float] = (0.01, 0.03),
    draws: int = 10_000,
    seed: int = 0,
) -> list[Summary]:
    """Point estimates and stratified cluster-bootstrap intervals, the same draws for all.

    Arguments:
        scores: ``[D, S, N]`` for D detectors, S noise seeds and N prompts.
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``.
        targets: False-positive rates, fractions.
        draws, seed: Of the bootstrap.

    Raises:
        ValueError: As :func:`anisomem.evaluation.statistics`.
    """
    values = np.asarray(scores, dtype=np.float64)
    detectors, seeds, prompts = values.shape
    memorized = np.asarray(labels)
    n_negative = int((memorized == 0).sum())
    resampling = resample(memorized, clusters, draws, seed)
    drawn = statistics(values.reshape(-1, prompts), memorized, resampling, targets)
    auc_draws = drawn.auc.reshape(detectors, seeds, -1).mean(axis=1)
    tpr_draws = drawn.tpr.reshape(len(targets), detectors, seeds, -1).mean(axis=2)
    notes = {target: resolution_note(target, n_negative) for target in targets}
    fewest = min(resampling.n_positive_clusters, resampling.n_negative_clusters)

    def estimate(
        points: Sequence[float], draws: npt.NDArray[np.float64], units: int, note: str | None
    ) -> Estimate:
        spread = float(np.std(points, ddof=1)) if len(points) > 1 else None
        return Estimate(float(np.mean(points)), percentile_interval(draws, units), spread, note)

    summaries = []
    for d in range(detectors):
        tpr: dict[float, Estimate | None] = {}
        for k, target in enumerate(targets):
            points = [tpr_at_fpr(row, memorized, target) for row in values[d]]
            units = resampling.n_positive_clusters
            resolvable = target * n_negative >= 1 - 1e-9
            tpr[target] = (
                estimate(points, tpr_draws[k, d], units, notes[target]) if resolvable else None
            )
        points = [auc(row, memorized) for row in values[d]]
        summaries.append(Summary(estimate(points, auc_draws[d], fewest, None), tpr))
    return summaries
