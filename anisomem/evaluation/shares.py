"""The share of prompts that have something, with its interval over clusters of prompts."""

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.estimates import Estimate
from anisomem.evaluation.interval import effective_clusters, percentile_interval


def share(
    having: npt.ArrayLike, clusters: npt.ArrayLike, draws: int = 10_000, seed: int = 0
) -> Estimate:
    r"""The share with the percentile interval of the bootstrap over clusters.

    .. math:: \hat r = \sum_c f_c \Big/ \sum_c w_c

    with :math:`f_c` of the :math:`w_c` prompts of cluster c. A draw takes as many clusters as
    there are, with replacement. Clusters of equal f and w are interchangeable, so what is drawn is
    how many of each such kind a draw holds: the same distribution, for a million clusters in no
    more time than for ten. Where no draw leaves 0 (or 1) the rule of three stands in.

    Arguments:
        having: Which prompts have it, ``[N]``.
        clusters: The cluster of each, ``[N]``.
        draws: Bootstrap samples.
        seed: What they are drawn by.

    Raises:
        ValueError: No prompt, or another number of clusters.
    """
    yes, names = np.asarray(having, bool), np.asarray(clusters)
    if yes.ndim != 1 or not len(yes) or yes.shape != names.shape:
        raise ValueError("a share needs one or more prompts, each with its cluster")
    _, of = np.unique(names, return_inverse=True)
    sizes, found = np.bincount(of), np.bincount(of, yes).astype(np.int64)
    kinds, counts = np.unique(np.stack([found, sizes], axis=1), axis=0, return_counts=True)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=draws)
    shares = (drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1])
    interval = percentile_interval(shares, effective_clusters(names))
    return Estimate(float(yes.mean()), interval, None, interval.note)
