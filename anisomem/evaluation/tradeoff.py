r"""Copying against fidelity along a method's strengths, and methods at matched fidelity.

A method's *curve* is the polyline from no mitigation over its settings, in the order of their
strength. Its copying at a fidelity that is to be kept is the least on the curve where the fidelity
is at least that:

.. math:: c(f) = \min \{ c : (c, f') \text{ on the curve},\; f' \ge f \}

which is interpolated between settings, never extrapolated, and defined for every method as long
as no mitigation keeps the fidelity. On bootstrap draws curve and required fidelity are the draw's
own, so methods are compared on the same prompts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.inputs import FloatArray


def weighted_means(values: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    r"""Means over prompts on every bootstrap sample, ``[K, draws]``.

    .. math:: \bar v = \sum_i w_i v_i \,/\, \sum_i w_i

    Arguments:
        values: ``[K, N]``.
        weights: How often each prompt occurs in each sample, ``[draws, N]``.
    """
    counts = np.asarray(weights, np.float64)
    means: FloatArray = np.asarray(values, np.float64) @ counts.T / counts.sum(axis=1)
    return means


def matched(copying: npt.ArrayLike, fidelity: npt.ArrayLike, level: npt.ArrayLike) -> FloatArray:
    """The least copying on a curve where the fidelity is at least ``level``, ``[...]``.

    Arguments:
        copying, fidelity: Of a curve's points, no mitigation first, ``[K, ...]``.
        level: The fidelity to be kept, at most that of the first point, ``[...]``.

    Raises:
        ValueError: The first point does not keep it.
    """
    c, f = np.asarray(copying, np.float64), np.asarray(fidelity, np.float64)
    kept = f >= np.asarray(level)
    if not kept[0].all():
        raise ValueError("without a mitigation the fidelity is below the level")
    least = np.where(kept, c, np.inf).min(axis=0)
    for k in range(len(c) - 1):
        crosses = kept[k] != kept[k + 1]
        span = np.where(crosses, f[k + 1] - f[k], 1)
        share = np.where(crosses, (level - f[k]) / span, 0)
        between = c[k] + share * (c[k + 1] - c[k])
        least = np.where(crosses, np.minimum(least, between), least)
    return np.asarray(least, np.float64)
