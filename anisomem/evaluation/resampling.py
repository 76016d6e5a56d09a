"""How often each bootstrap sample holds each prompt: whole clusters drawn, within either class.

What is made of the samples is in ``bootstrap`` and ``bands``. Samples are handed on in blocks, so
that a hundred thousand prompts need no more memory than a thousand: many clusters are drawn anew
whenever they are asked for, by generators that belong to the class and not to the block.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.inputs import (
    BoolArray,
    IntArray,
    check_clusters,
    check_labels,
)
from anisomem.evaluation.interval import effective_clusters

FEW = 10_000  # clusters of both classes, whose samples are kept; more are drawn block by block
CHUNK = 10_000  # samples at a time: long enough for numpy, and a row of them stays in the cache
HELD = 1 << 26  # counts of a block, 128 MiB; the next one is drawn meanwhile
TILE = 256  # samples that are turned at once, from a row a sample to a row a cluster
REMEMBERED = 1 << 24  # counts of samples that are kept for the next of the same class sizes

Counts = npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Members:
    """The prompts of one class and their clusters.

    Attributes:
        rows: Their places among all prompts, ``[n]``.
        cluster: The number of each one's cluster, ``[n]``.
        sizes: Prompts of each cluster, ``[C]``.
    """

    rows: IntArray
    cluster: IntArray
    sizes: IntArray

    def prompts(self, counts: Counts) -> IntArray:
        """How many prompts samples hold, ``[b]``, of clusters drawn ``[C, b]``."""
        total = np.zeros(counts.shape[1], np.int64)
        for size in np.unique(self.sizes).tolist():
            total += size * counts[self.sizes == size].sum(axis=0, dtype=np.int64)
        return total


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive bootstrap samples.

    Attributes:
        part: Which of all samples they are.
        positives, negatives: How often they hold each cluster of memorized prompts, and of the
            others, ``[C, b]``.
    """

    part: slice
    positives: Counts
    negatives: Counts


@dataclass(frozen=True, eq=False)
class Resampling:
    """Bootstrap samples of some prompts.

    One resampling serves all detectors of a table, so that their draws are paired.

    Attributes:
        positives, negatives: The memorized prompts, and the others.
        draws: Number of bootstrap samples.
        seed: What they are drawn by.
        kept: How often all samples hold each cluster of either class, ``[C, draws]``; None where
            that would be too much.
    """

    positives: Members
    negatives: Members
    draws: int
    seed: int = 0
    kept: tuple[Counts, Counts] | None = None

    @classmethod
    def given(cls, labels: npt.ArrayLike, weights: npt.ArrayLike) -> "Resampling":
        """Samples that are written out, every prompt a cluster of its own.

        Arguments:
            labels: ``[N]``, 1 = memorized.
            weights: How often each sample holds each prompt, ``[draws, N]``.
        """
        memorized, counts = check_labels(labels), np.asarray(weights, np.uint16)
        positives, negatives = (
            _members(np.arange(len(memorized)), members) for members in (memorized, ~memorized)
        )
        kept = tuple(np.ascontiguousarray(counts[:, m].T) for m in (memorized, ~memorized))
        return cls(positives, negatives, len(counts), kept=(kept[0], kept[1]))

    @property
    def n_prompts(self) -> int:
        """The number of prompts N."""
        return len(self.positives.rows) + len(self.negatives.rows)

    @cached_property
    def positive_units(self) -> float:
        """The :func:`effective_clusters` of the memorized prompts."""
        return effective_clusters(self.positives.cluster)

    @cached_property
    def negative_units(self) -> float:
        """The :func:`effective_clusters` of the others."""
        return effective_clusters(self.negatives.cluster)

    @property
    def units(self) -> float:
        """The units of the class that has fewer."""
        return min(self.positive_units, self.negative_units)

    def blocks(self) -> Iterator[Block]:
        """All samples, so many at a time as memory allows; the same at every call."""
        sizes = len(self.positives.sizes), len(self.negatives.sizes)
        length = CHUNK if self.kept else max(1, min(CHUNK, HELD // sum(sizes)))
        parts = [slice(b, min(b + length, self.draws)) for b in range(0, self.draws, length)]
        if self.kept:
            positives, negatives = self.kept
            yield from (Block(part, positives[:, part], negatives[:, part]) for part in parts)
            return
        generators = [np.random.default_rng([self.seed, label]) for label in (1, 0)]
        with ThreadPoolExecutor(len(sizes)) as threads:  # numpy draws beside what reads the block

            def begin(part: slice) -> list[Future[Counts]]:
                each = zip(sizes, generators, strict=True)
                return [threads.submit(_many, n, part, generator) for n, generator in each]

            drawing = begin(parts[0])
            for part, after in zip_longest(parts, parts[1:]):
                drawn = [one.result() for one in drawing]
                if after is not None:
                    drawing = begin(after)
                yield Block(part, *drawn)

    def by_prompt(self, block: Block) -> list[Counts]:
        """How often samples hold each prompt, ``[b]`` each: the row of its cluster."""
        rows: list[Counts] = [block.positives[0]] * self.n_prompts
        for members, counts in (
            (self.positives, block.positives),
            (self.negatives, block.negatives),
        ):
            of_clusters = list(counts)
            for row, cluster in zip(members.rows.tolist(), members.cluster.tolist(), strict=True):
                rows[row] = of_clusters[cluster]
        return rows

    @cached_property
    def weights(self) -> npt.NDArray[np.uint16]:
        """How often each sample holds each prompt, ``[draws, N]``: of few prompts."""
        weights = np.empty((self.draws, self.n_prompts), np.uint16)
        for block in self.blocks():
            weights[block.part, self.positives.rows] = block.positives[self.positives.cluster].T
            weights[block.part, self.negatives.rows] = block.negatives[self.negatives.cluster].T
        return weights


def resample(
    labels: npt.ArrayLike, clusters: npt.ArrayLike, draws: int = 10_000, seed: int = 0
) -> Resampling:
    """Draws whole clusters with replacement, in each class as many as the class has.

    A cluster with prompts of both classes counts as one cluster in each, and its two halves are
    drawn independently. The sample's size varies when cluster sizes do; with clusters of one
    prompt this is the plain stratified bootstrap. Draws belong to cluster names, so the order of
    the prompts doesn't matter.

    Up to ``FEW`` clusters are drawn by numpy's ``multinomial``, from one generator for both
    classes; its time is that of a binomial draw for every cluster and sample. Of more clusters
    ``n`` integers below ``n`` are counted in each sample, which is the same distribution ten times
    as fast, by a generator for each class.

    Arguments:
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``, integers or strings; near-duplicate prompts share one.
        draws: Number of bootstrap samples.
        seed: The seed of ``np.random.default_rng``.

    Raises:
        ValueError: labels not 0 or 1, one class only, other lengths.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    memorized = check_labels(labels)
    names = check_clusters(clusters, memorized)
    positives, negatives = (_members(names, members) for members in (memorized, ~memorized))
    sizes = len(positives.sizes), len(negatives.sizes)
    kept = None
    if sum(sizes) <= FEW:
        kept = _few_of_both(sizes, draws, seed)
    return Resampling(positives, negatives, draws, seed, kept)


def _members(names: npt.NDArray[np.generic], members: BoolArray) -> Members:
    distinct, cluster = np.unique(names[members], return_inverse=True)
    return Members(np.flatnonzero(members), cluster, np.bincount(cluster, minlength=len(distinct)))


def _few_of_both(sizes: tuple[int, int], draws: int, seed: int) -> tuple[Counts, Counts]:
    """Samples of few clusters of both classes, ``[C, draws]`` each; they cannot be changed.

    Tables of one run ask for the same again and again, and those of its blocks for the same
    memorized prompts beside fewer others.
    """
    if sum(sizes) * draws > REMEMBERED:
        generator = np.random.default_rng(seed)
        return _few(sizes[0], draws, generator), _few(sizes[1], draws, generator)
    positives, state = _first_few(sizes[0], draws, seed)
    return positives, _second_few(sizes[1], draws, state)


@lru_cache(maxsize=4)
def _first_few(n: int, draws: int, seed: int) -> tuple[Counts, str]:
    """Samples of one class, and where the generator is after them, as JSON."""
    generator = np.random.default_rng(seed)
    return _few(n, draws, generator), json.dumps(generator.bit_generator.state)


@lru_cache(maxsize=4)
def _second_few(n: int, draws: int, state: str) -> Counts:
    """Samples of the other class, by the generator of the first."""
    generator = np.random.default_rng()
    generator.bit_generator.state = json.loads(state)
    return _few(n, draws, generator)


def _few(n: int, draws: int, generator: np.random.Generator) -> Counts:
    """How often each of ``n`` clusters is drawn, ``[n, draws]``."""
    counts = np.empty((n, draws), np.uint16)
    for begin in range(0, draws, TILE):
        part = slice(begin, min(begin + TILE, draws))
        size = part.stop - part.start
        counts[:, part] = generator.multinomial(n, np.full(n, 1 / n), size=size).T
    counts.flags.writeable = False
    return counts


def _many(n: int, part: slice, generator: np.random.Generator) -> Counts:
    """The same by counting integers, of the samples that a generator comes to next, ``[n, b]``."""
    counts = np.empty((n, part.stop - part.start), np.uint16)
    for begin in range(0, counts.shape[1], TILE):
        tile = np.empty((min(TILE, counts.shape[1] - begin), n), np.uint16)
        for sample in tile:
            sample[:] = np.bincount(generator.integers(0, n, n), minlength=n)
        counts[:, begin : begin + len(tile)] = tile.T
    return counts
