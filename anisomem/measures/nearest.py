"""The nearest of many pictures to some, and of some to each of many; exact, in constant memory.

Some, ``G``, are held as vectors. The many, ``n``, are gone through in blocks, of each of which all
distances to the some are computed by scikit-learn, so both directions come from one pass and
nothing is approximated; an index (faiss, usearch) would answer one of them, for a single pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.measures.base import Vectors

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Picture = npt.NDArray[np.uint8]
NONE = -1  # in the place of a picture: there are fewer


@dataclass(frozen=True)
class Nearest:
    """What is nearest to what, by Euclidean distances of vectors.

    Attributes:
        places: The nearest of the many to every group of the some, nearest first, equal ones in
            their order, :data:`NONE` where there are fewer; ``[P, k]``.
        distances: How near they are to the nearest of the group; ``[P, k]``, infinite where none.
        by: Which of the group that is; ``[P, k]``.
        closest: How near each of the many is to the nearest of all some, NaN where it was not
            read; ``[n]``.
        of: Which of the some that is, :data:`NONE` where it was not read; ``[n]``.
        times: To how many of the some each of the many is the nearest; ``[n]``.
    """

    places: Integers
    distances: Float32
    by: Integers
    closest: Float32
    of: Integers
    times: Integers


def nearest(
    groups: npt.NDArray[np.uint8],
    blocks: Iterable[Sequence[Picture | None]],
    count: int,
    measure: Vectors,
    k: int,
) -> Nearest:
    """Goes once through many pictures.

    Arguments:
        groups: The some, in groups of equal size; uint8 ``[P, S, H, W, 3]``.
        blocks: The many in their order, some at a time, None where one cannot be read.
        count: How many they are.
        measure: What compares them, started.
        k: How many of the many to name for each group.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    parts, size = groups.shape[:2]
    some = measure.vectors(list(groups.reshape(parts * size, *groups.shape[2:])))
    places = np.full((parts, k), NONE, np.int32)
    distances, by = np.full((parts, k), np.inf, np.float32), np.full_like(places, NONE)
    closest, of = np.full(count, np.nan, np.float32), np.full(count, NONE, np.int32)
    best, winner = np.full(len(some), np.inf, np.float32), np.full(len(some), NONE, np.int32)
    begin = 0
    for block in blocks:
        rows = [begin + i for i, one in enumerate(block) if one is not None]
        begin += len(block)
        if not rows:
            continue
        many = measure.vectors([one for one in block if one is not None])
        between = euclidean_distances(some, many).astype(np.float32)
        closest[rows], of[rows] = between.min(axis=0), between.argmin(axis=0)
        nearer = between.min(axis=1) < best  # equal ones stay with the earlier
        best[nearer] = between.min(axis=1)[nearer]
        winner[nearer] = np.asarray(rows, np.int32)[between.argmin(axis=1)[nearer]]
        grouped = between.reshape(parts, size, len(rows))
        there = np.broadcast_to(np.asarray(rows, np.int32), (parts, len(rows)))
        every = np.concatenate([distances, grouped.min(axis=1)], axis=1)
        order = np.argsort(every, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(every, order, axis=1)
        places = np.take_along_axis(np.concatenate([places, there], axis=1), order, axis=1)
        beside = np.concatenate([by, grouped.argmin(axis=1).astype(np.int32)], axis=1)
        by = np.take_along_axis(beside, order, axis=1)
    times = np.bincount(winner[winner != NONE], minlength=count).astype(np.int32)
    return Nearest(places, distances, by, closest, of, times)
