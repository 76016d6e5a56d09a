"""Prompts that are not independent of each other: near-duplicates and shared pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

THRESHOLD = 0.5
ROWS = 512  # of the similarity matrix at a time: memory stays small with thousands of prompts

# Letters only: the prompts of one product template differ in numbers.
WORD = re.compile(r"[^\W\d_]+")


def words(text: str) -> list[str]:
    """The lower-cased runs of letters of a prompt."""
    return WORD.findall(text.lower())


def near_duplicates(
    texts: Sequence[str], urls: Sequence[Sequence[str]] | None = None
) -> npt.NDArray[np.int64]:
    r"""Clusters ``[N]`` of prompts, numbered in the order of their first members.

    Two prompts are linked where the Jaccard similarity of their sets of words is at least 0.5,

    .. math:: |A \cap B| \,/\, |A \cup B| \ge 0.5,

    or where they share a URL. A cluster is what links connect (single linkage). A prompt without
    a word is its own.

    Arguments:
        texts: ``N`` prompts.
        urls: The pictures of each, or None.
    """
    count = len(texts)
    incidence = _incidence([set(words(text)) for text in texts])
    sizes = incidence.sum(axis=1)
    left, right = [], []
    for begin in range(0, count, ROWS):
        shared = (incidence[begin : begin + ROWS] @ incidence.T).tocoo()
        i, j = shared.row + begin, shared.col
        near = shared.data >= THRESHOLD * (sizes[i] + sizes[j] - shared.data)
        left.append(i[near])
        right.append(j[near])
    pictures = _incidence([set(some) for some in urls or [()] * count]).tocoo()
    left.append(pictures.row)
    right.append(pictures.col + count)  # a picture is a node that links its prompts
    i, j = np.concatenate(left), np.concatenate(right)
    nodes = count + pictures.shape[1]
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(nodes, nodes))
    found = connected_components(graph, directed=False)[1][:count]
    return in_order(found.tolist())


def in_order(names: Sequence[object]) -> npt.NDArray[np.int64]:
    """Names as integers ``[N]``, counted in the order in which they first occur."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _incidence(members: Sequence[set[str]]) -> csr_array:
    """1 where a prompt (row) has a word or URL (column)."""
    names = {name: at for at, name in enumerate(dict.fromkeys(chain(*map(sorted, members))))}
    at = [(row, names[name]) for row, some in enumerate(members) for name in some]
    rows, columns = np.array(at, np.int64).reshape(-1, 2).T
    shape = (len(members), len(names))
    return csr_array((np.ones(len(at), np.int32), (rows, columns)), shape=shape)
