"""Counts along rankings, on all bootstrap samples at once: pairs lost, and positives detected.

Whole rows of counts are added, a row a prompt, in integers, so ties are exact. What is a statistic
of these counts is in ``bootstrap``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.inputs import BoolArray, FloatArray, IntArray

Rows = Sequence[npt.NDArray[np.uint16]]  # of every prompt, how often samples hold it
Sums = npt.NDArray[np.unsignedinteger[Any]]  # uint16 or uint32, see :func:`sums_for`

#: Of both classes together, whose order is compared with the order before it.
PAIRS = 1 << 20
LIGHT = 255  # times that a sample may hold a prompt of a swap: the product takes 16 bits


@dataclass(frozen=True, eq=False)
class Ranking:
    """The prompts from the highest score down, in blocks.

    A block is a run of memorized prompts and the run of others below it, or, *tied*, the prompts
    of both classes that share one score.

    Attributes:
        order: The prompts, ``[N]``; memorized ones first where scores are equal.
        cuts: Where blocks begin, and the end.
        ahead: Memorized prompts before each place, ``[N + 1]``.
        tied: Whether the block at a place is, ``[N]``.
    """

    order: IntArray
    cuts: IntArray
    ahead: IntArray
    tied: BoolArray

    @classmethod
    def of(cls, scores: FloatArray, memorized: BoolArray) -> "Ranking":
        """The ranking by scores ``[N]``."""
        order = np.lexsort((~memorized, -scores))
        positive = memorized[order]
        new = np.append(True, np.diff(scores[order]) != 0)
        level = new.cumsum() - 1
        share = np.bincount(level, positive) / np.bincount(level)
        tied = ((share > 0) & (share < 1))[level]
        begins = (positive[1:] & ~positive[:-1]) | (new[1:] & (tied[1:] | tied[:-1]))
        cuts = np.concatenate([[0], np.flatnonzero(begins) + 1, [len(order)]])
        return cls(order, cuts, np.append(0, positive.cumsum()), tied)

    def blocks(self) -> Iterator[tuple[list[int], list[int], bool]]:
        """Prompts memorized and not, and whether they are tied, of one block after another."""
        order, ahead = self.order.tolist(), self.ahead[self.cuts].tolist()
        for k, (begin, end) in enumerate(pairwise(self.cuts.tolist())):
            middle = begin + ahead[k + 1] - ahead[k]
            yield order[begin:middle], order[middle:end], bool(self.tied[begin])


@dataclass(frozen=True, eq=False)
class Swaps:
    """Pairs of a memorized prompt and another that stand the other way round than before.

    Attributes:
        lost, won: Those of which the other is above now, and those of which it no longer is: the
            memorized prompts' numbers and the others', ``[2, pairs]``.
    """

    lost: IntArray
    won: IntArray


def swaps_between(scores: FloatArray, memorized: BoolArray) -> list[Swaps | None]:
    """In what each ranking differs from the one before it; None where a walk is no longer.

    Arguments:
        scores: ``[D, N]``.
        memorized: ``[N]``.
    """
    positives, negatives = np.flatnonzero(memorized), np.flatnonzero(~memorized)
    if len(positives) * len(negatives) > PAIRS:
        return [None] * len(scores)
    swaps: list[Swaps | None] = []
    before = None
    for row in scores:
        above = None
        if not np.isin(row[positives], row[negatives]).any():  # then no pair is tied
            above = (row[negatives] > row[positives, None]).ravel()
        found = None
        if above is not None and before is not None:
            changed = np.flatnonzero(above ^ before)
            # A swap takes two operations on rows, and so does a prompt of a walk.
            if len(changed) < len(row) / 2:
                i, j = np.divmod(changed, len(negatives))
                pairs, lost = np.stack([positives[i], negatives[j]]), above[changed]
                found = Swaps(pairs[:, lost], pairs[:, ~lost])
        swaps.append(found)
        before = above
    return swaps


def sums_for(most: int) -> type[np.unsignedinteger[Any]]:
    """What sums of counts up to ``most`` are made in: the narrower, the faster."""
    return np.uint16 if most < 2**16 else np.uint32


def lost_pairs(ranking: Ranking, counts: Rows, sums: type[np.unsignedinteger[Any]]) -> IntArray:
    """Twice the pairs of which the negative is above, and the tied ones once, ``[b]``.

    Arguments:
        ranking: The order of the prompts.
        counts: How often each prompt is in the samples, ``[b]`` each.
        sums: What holds the prompts of either class in a sample.
    """
    # A product of two numbers below 2 ** 16 is below 2 ** 32.
    products = np.uint32 if sums is np.uint16 else np.int64
    b = len(counts[0])
    above, run_buffer, level_buffer = np.zeros((3, b), sums)
    lost, tied_pairs, product = np.zeros((3, b), products)
    for positives, negatives, tied in ranking.blocks():
        if positives:
            run = _total(positives, counts, run_buffer)
            lost += np.multiply(run, above, out=product, dtype=products)
            if tied:
                level = _total(negatives, counts, level_buffer)
                tied_pairs += np.multiply(run, level, out=product, dtype=products)
        _add(negatives, counts, above)
    return 2 * lost.astype(np.int64) + tied_pairs


def change_of_lost_pairs(swaps: Swaps, counts: Rows, heaviest: int) -> IntArray:
    """By how much swaps change :func:`lost_pairs`, ``[b]``.

    Arguments:
        swaps: From the ranking before.
        counts: How often each prompt is in the samples, ``[b]`` each, and fewer than ``2 ** 16``
            prompts of either class together.
        heaviest: The largest of these counts, at most ``LIGHT``.
    """
    product, sums = np.empty_like(counts[0]), []
    for pairs in (swaps.lost, swaps.won):
        total = np.zeros(len(product), sums_for(pairs.shape[1] * heaviest**2))
        for positive, negative in zip(*pairs.tolist(), strict=True):
            np.multiply(counts[positive], counts[negative], out=product)
            np.add(total, product, out=total)
        sums.append(total.astype(np.int64))
    lost, won = sums
    return 2 * (lost - won)


def detected_positives(ranking: Ranking, counts: Rows, allowed: Sums) -> Sums:
    """Memorized prompts that no more than the allowed negatives score as high as, ``[T, b]``.

    Arguments:
        ranking: The order of the prompts.
        counts: How often each prompt is in the samples, ``[b]`` each.
        allowed: False positives, ``[T, b]``, of the type that sums are made in.
    """
    detected = np.zeros_like(allowed)
    above, run_buffer = np.zeros((2, allowed.shape[1]), allowed.dtype)
    loosest = allowed.max(axis=0)
    for positives, negatives, tied in ranking.blocks():
        if tied:
            _add(negatives, counts, above)
        if positives:
            run = _total(positives, counts, run_buffer)
            detected += run * (above <= allowed)
            if not (above <= loosest).any():
                break
        if not tied:
            _add(negatives, counts, above)
    return detected


def detected_of_groups(ranking: Ranking, counts: Rows, allowed: Sums, groups: BoolArray) -> Sums:
    """:func:`detected_positives` of groups of memorized prompts, ``[G, b]``.

    Arguments:
        ranking: The order of all prompts.
        counts: How often each prompt is in the samples, ``[b]`` each.
        allowed: False positives, ``[b]``, of the type that sums are made in.
        groups: Memorized prompts, ``[G, N]``.
    """
    detected = np.zeros((len(groups), len(allowed)), allowed.dtype)
    above, run = np.zeros((2, len(allowed)), allowed.dtype)
    for positives, negatives, tied in ranking.blocks():
        if tied:
            _add(negatives, counts, above)
        passed = above <= allowed
        if not passed.any():
            break
        for row in positives:
            np.multiply(counts[row], passed, out=run)
            for group in np.flatnonzero(groups[:, row]):
                detected[group] += run
        if not tied:
            _add(negatives, counts, above)
    return detected


def _total(rows: Sequence[int], counts: Rows, buffer: Sums) -> Sums:
    """The sum of some counts, in ``buffer`` unless there is one row alone."""
    if len(rows) == 1:
        return counts[rows[0]]
    np.add(counts[rows[0]], counts[rows[1]], out=buffer, dtype=buffer.dtype)
    _add(rows[2:], counts, buffer)
    return buffer


def _add(rows: Sequence[int], counts: Rows, total: Sums) -> None:
    for row in rows:
        np.add(total, counts[row], out=total)
