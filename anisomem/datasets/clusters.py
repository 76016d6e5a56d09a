"""Prompts that are not independent of each other: near-duplicates and shared pictures.

Intervals and folds keep the prompts of a cluster together, in :mod:`anisomem.evaluation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported where they are first used

PAIRS = 1 << 18  # compared at a time: memory stays small whatever the prompts are
COMMON = 64  # sets that share a word, from which on they are gone through one word at a time

Rows = npt.NDArray[np.int64]
T = TypeVar("T")

# Letters only: the prompts of one product template differ in numbers.
WORD = re.compile(r"[^\W\d_]+")


def words(text: str) -> list[str]:
    """The lower-cased runs of letters of a prompt."""
    return WORD.findall(text.lower())


def near_duplicates(texts: Sequence[str], urls: Sequence[Sequence[str]] | None = None) -> Rows:
    r"""Clusters ``[N]`` of prompts, numbered in the order of their first members.

    Two prompts are linked where the Jaccard similarity of their sets of words is at least 0.5,

    .. math:: |A \cap B| \,/\, |A \cup B| \ge 0.5,

    or where they share a URL. A cluster is what links connect (single linkage). A prompt without
    a word is its own.

    Every link is compared or implied by others: two sets that are connected already are not
    compared again, so that memory grows with the number of prompts and not of pairs.

    Arguments:
        texts: ``N`` prompts.
        urls: The pictures of each, or None.
    """
    count = len(texts)
    sets = [tuple(sorted(set(words(text)))) for text in texts]
    distinct = {some: at for at, some in enumerate(dict.fromkeys(sets))}
    incidence = _incidence(list(distinct))
    named = np.array([distinct[some] for some in sets], np.int64)
    wordless = incidence.sum(axis=1)[named] == 0
    groups = np.where(wordless, len(distinct) + np.arange(count), _linked(incidence)[named])
    pictures = _incidence(urls or [()] * count).tocoo()
    # A group of words and a picture are nodes that link their prompts.
    offset = count + len(distinct) + count
    i = np.concatenate([np.arange(count), pictures.row])
    j = np.concatenate([count + groups, offset + pictures.col])
    nodes = offset + pictures.shape[1]
    graph = scipy.sparse.coo_array((np.ones(len(i), np.int8), (i, j)), shape=(nodes, nodes))
    components = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][:count]
    return in_order(components.tolist())


def in_order(names: Sequence[object]) -> Rows:
    """Names as integers ``[N]``, counted in the order in which they first occur."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _incidence(members: Sequence[Sequence[str]]) -> scipy.sparse.csr_array:
    """1 where a prompt (row) has a word or URL (column)."""
    names: dict[str, int] = {}
    columns, ends = [], [0]
    for some in members:
        columns += sorted({names.setdefault(name, len(names)) for name in some})
        ends.append(len(columns))
    shape = (len(members), len(names))
    return scipy.sparse.csr_array((np.ones(len(columns), np.int32), columns, ends), shape=shape)


class _Forest:
    """Groups of rows that are linked."""

    def __init__(self, count: int) -> None:
        self.parents = np.arange(count)

    def find(self, rows: Rows) -> Rows:
        """The first row of each row's group."""
        roots = self.parents[rows]
        while not np.array_equal(roots, above := self.parents[roots]):
            roots = above
        self.parents[rows] = roots
        return roots

    def link(self, left: Rows, right: Rows) -> None:
        """Joins the groups of ``left[k]`` and ``right[k]`` for every k."""
        pairs = np.stack([self.find(left), self.find(right)])
        nodes, at = np.unique(pairs, return_inverse=True)
        i, j = at.reshape(pairs.shape)
        graph = scipy.sparse.coo_array((np.ones(len(i), np.int8), (i, j)), shape=(len(nodes),) * 2)
        parts = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
        first = np.full(parts.max(initial=-1) + 1, len(self.parents))
        np.minimum.at(first, parts, nodes)
        self.parents[nodes] = first[parts]


@dataclass(frozen=True)
class _Sets:
    """Distinct sets of words as rows, with the words of each by which links are found.

    With c words in common, sizes a <= b and a similarity of at least a half, c is at least b/2 and
    (a + b)/3, so at least 2a/3. Of all common words take the rarest: in either set's words from
    rare to common, it stands before c - 1 others. So it is among the first b - ceil(b/2) + 1 words
    of the larger set and the first a - ceil(2a/3) + 1 of the smaller. (Prefix filtering: Bayardo,
    Ma, Srikant, Scaling up all pairs similarity search, WWW 2007.)

    Attributes:
        incidence: The incidence of words (columns) in sets (rows).
        sizes: The sizes of the sets.
        asking: Words of each set by which a smaller or equal one may be found, sets by words;
            how many of the set's words are left from there, the word with them.
        answering: The same of the words by which a larger or equal one finds it.
    """

    incidence: scipy.sparse.csr_array
    sizes: Rows
    asking: scipy.sparse.csr_array
    answering: scipy.sparse.csr_array

    def near(self, left: Rows, right: Rows) -> npt.NDArray[np.bool_]:
        """Whether ``left[k]`` and ``right[k]`` are linked, for every k."""
        near = np.zeros(len(left), bool)
        for begin in range(0, len(left), PAIRS):
            i, j = left[begin : begin + PAIRS], right[begin : begin + PAIRS]
            shared = self.incidence[i].multiply(self.incidence[j]).sum(axis=1)
            near[begin : begin + PAIRS] = 3 * shared >= self.sizes[i] + self.sizes[j]
        return near


def _sets(incidence: scipy.sparse.csr_array) -> _Sets:
    sizes = np.asarray(incidence.sum(axis=1), np.int64)
    frequency = incidence.sum(axis=0)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    # Rows stay in place; within each, words from rare to common, equally rare ones by number.
    order = np.lexsort((incidence.indices, frequency[incidence.indices], rows))
    columns = incidence.indices[order]
    place = np.arange(len(columns)) - np.repeat(incidence.indptr[:-1], sizes)

    left = np.repeat(sizes, sizes) - place

    def first(lengths: Rows) -> scipy.sparse.csr_array:
        kept = place < np.repeat(lengths, sizes)
        entries = (left[kept].astype(np.int32), (rows[kept], columns[kept]))
        return scipy.sparse.csr_array(entries, shape=incidence.shape)

    asking = first(sizes - (sizes + 1) // 2 + 1)
    return _Sets(incidence, sizes, asking, first(sizes - (2 * sizes + 2) // 3 + 1))


def _linked(incidence: scipy.sparse.csr_array) -> Rows:
    """The first row of each row's group, where rows of a similarity of a half are linked."""
    sets, forest = _sets(incidence), _Forest(incidence.shape[0])
    asking, answering = sets.asking.tocsc(), sets.answering.tocsc()
    often = np.diff(asking.indptr) > COMMON
    for i, j in _progress(_by_rare_words(sets, ~often), "near-duplicates by rare words"):
        possible = (sets.sizes[j] <= sets.sizes[i]) & (forest.find(i) != forest.find(j))
        _compare(sets, forest, i[possible], j[possible])
    columns = np.flatnonzero(often & (np.diff(answering.indptr) > 0)).tolist()
    for column in _progress(columns, "near-duplicates by common words"):
        _by_common_word(sets, forest, _members(asking, column), _members(answering, column))
    return forest.find(np.arange(incidence.shape[0]))


def _progress(steps: Iterable[T], title: str) -> Iterable[T]:
    """A bar where it takes more than a moment."""
    from tqdm.auto import tqdm

    return tqdm(steps, title, leave=False, disable=None, delay=2)


def _members(matrix: scipy.sparse.csc_array, column: int) -> tuple[Rows, Rows]:
    """The sets that have a word, and how many of their words are left from it."""
    part = slice(matrix.indptr[column], matrix.indptr[column + 1])
    return matrix.indices[part].astype(np.int64), matrix.data[part].astype(np.int64)


def _by_rare_words(sets: _Sets, rare: npt.NDArray[np.bool_]) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of sets that share a rare word by which one may find the other."""
    asking, answering = sets.asking[:, rare].sign(), sets.answering[:, rare].T.tocsr().sign()
    most = asking @ np.diff(answering.indptr)  # candidates of a row, at most
    cuts = np.searchsorted(np.cumsum(most), np.arange(0, most.sum() + PAIRS, PAIRS))
    for begin, end in pairwise(np.unique([*cuts, len(most)])):
        links = (asking[begin:end] @ answering).tocoo()
        yield links.row.astype(np.int64) + begin, links.col.astype(np.int64)


def _by_common_word(
    sets: _Sets, forest: _Forest, asking: tuple[Rows, Rows], answering: tuple[Rows, Rows]
) -> None:
    """Links the sets of which a word is the rarest that they share.

    Nothing is compared within a group, and groups grow on the way: what a template makes is one
    after its first row was compared with all.
    """
    (larger, larger_left), (smaller, smaller_left) = asking, answering
    rest, step = np.arange(len(smaller)), 1
    while len(rest):
        groups = forest.find(larger)
        largest = np.bincount(groups).argmax()
        outside = np.flatnonzero(groups != largest)
        inside = forest.find(smaller[rest]) == largest
        if not len(outside):
            rest, inside = rest[~inside], inside[~inside]
        rest = np.concatenate([rest[~inside], rest[inside]])
        # A set of the largest group has only those outside to be compared with.
        others = outside if inside.all() else np.arange(len(larger))
        some, rest = rest[:step], rest[step:]
        step = max(1, min(2 * step, PAIRS // max(1, len(others))))
        b, a = sets.sizes[larger[others]][:, None], sets.sizes[smaller[some]]
        shared = np.minimum(larger_left[others][:, None], smaller_left[some])  # at most
        i, j = np.nonzero(
            (a <= b)
            & (3 * shared >= a + b)
            & (groups[others][:, None] != forest.find(smaller[some]))
        )
        _compare(sets, forest, larger[others[i]], smaller[some[j]])


def _compare(sets: _Sets, forest: _Forest, left: Rows, right: Rows) -> None:
    """Links what is near of some pairs of sets."""
    near = sets.near(left, right)
    forest.link(left[near], right[near])
