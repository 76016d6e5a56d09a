"""Which detectors cannot be told apart, as the bars of a critical-difference picture.

Whether a pair is separable is for ``bootstrap``; the picture is drawn in
:mod:`anisomem.report.pairs`.
"""

from collections.abc import Iterable
from itertools import combinations


def inseparable_groups(count: int, separable: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups without a separable pair, so that two detectors share one exactly if they are not.

    Paired tests are not transitive, and not even the neighbours of an inseparable pair need be
    inseparable, so a group may leave out what lies between its members. A group whose pairs all
    lie in others is left out, and so are groups of one.

    Arguments:
        count: The number of detectors, which are numbered from 0.
        separable: Pairs of them.

    Source: Piepho, Journal of Computational and Graphical Statistics 13 (2004), "insert and
    absorb" and "sweep".
    """
    groups = {frozenset(range(count))}
    for pair in separable:
        split = {group - {one} for group in groups if group.issuperset(pair) for one in pair}
        parted = {group for group in groups if not group.issuperset(pair)} | split
        groups = {group for group in parted if not any(group < other for other in parted)}
    tied = {group: set(combinations(sorted(group), 2)) for group in groups}
    for group in sorted(groups, key=lambda g: (len(g), sorted(g))):
        others = set().union(*(pairs for other, pairs in tied.items() if other != group))
        if tied[group] <= others:
            del tied[group]
    return sorted(tuple(sorted(group)) for group in tied)
