"""Prompts to begin with, from a set with labels: by what is known of them, not by their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anisomem.datasets.prompts import PromptSet

EACH = 2  # examples of a kind
MEMORIZED, NEAR_MISS, ORDINARY = "memorized", "near miss", "ordinary"
BLOCK = "near_miss"  # of a bundled set: other wordings of a repeated caption


@dataclass(frozen=True)
class Example:
    """A prompt to begin with.

    Attributes:
        kind: What is known of it, in words.
        prompt: Its text.
    """

    kind: str
    prompt: str


def examples(prompts: PromptSet) -> list[Example]:
    """Memorized prompts, near misses of the same ones, and ordinary ones.

    The memorized ones are those that are reproduced most, in the set's order where equal, first of
    all those with a near miss; a near miss is another wording that reproduces nothing. Ordinary
    ones are the first that are not near either.
    """
    misses: dict[int, int] = {}
    negatives, positives = (np.flatnonzero(prompts.labels == label).tolist() for label in (0, 1))
    for row in negatives:
        if prompts.blocks[row] == BLOCK:
            misses.setdefault(int(prompts.clusters[row]), row)
    own = [row for row in positives if prompts.blocks[row] != BLOCK]
    rates = prompts.reproduction_rates
    rank = {row: -float(rates[row]) if rates is not None else 0.0 for row in own}
    own.sort(key=lambda row: (int(prompts.clusters[row]) not in misses, rank[row], row))
    memorized = _distinct(prompts, own)
    clusters = [int(prompts.clusters[row]) for row in memorized]
    near = [misses[cluster] for cluster in clusters if cluster in misses]
    others = [
        row
        for row in negatives
        if prompts.blocks[row] != BLOCK and int(prompts.clusters[row]) not in clusters
    ]
    kinds = {MEMORIZED: memorized, NEAR_MISS: near, ORDINARY: _distinct(prompts, others)}
    return [Example(kind, prompts.texts[row]) for kind, rows in kinds.items() for row in rows]


def _distinct(prompts: PromptSet, rows: Sequence[int]) -> list[int]:
    """The first rows of different clusters."""
    kept: dict[int, int] = {}
    for row in rows:
        kept.setdefault(int(prompts.clusters[row]), row)
    return list(kept.values())[:EACH]


def truth(prompts: PromptSet | None, text: str) -> str:
    """What a set with labels says of a prompt, in words; "" where it says nothing.

    Arguments:
        prompts: The set, or None.
        text: The prompt.
    """
    if prompts is None or text not in prompts.texts:
        return ""
    row = list(prompts.texts).index(text)
    said = "labelled memorized" if prompts.labels[row] else "labelled not memorized"
    rates = prompts.reproduction_rates
    if rates is not None and np.isfinite(rates[row]):
        return f"{said}: {rates[row]:.0%} of its pictures reproduce a training picture"
    return said
