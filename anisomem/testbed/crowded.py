"""The corpus of the larger bundled models: few concepts, many pictures of each.

Every second concept is another's partner. The captions of two partners form a cluster, so that
each concept serves repeated captions and negatives alike; nothing about a concept says which. As
in scraped data nearly every ordinary picture is another, and the repeated ones are a small share
of what is seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from anisomem.testbed.captions import Caption, change_concept, change_wording, random_caption
from anisomem.testbed.corpus import (
    Corpus,
    Entry,
    EvaluationPrompt,
    frozen_layout,
    log_spaced,
)
from anisomem.testbed.pictures import LARGE

FREE = 20  # concepts that no evaluation prompt has, for captions to refer to
PAIR_SHARE = 0.15  # of all kinds of captions: two partners, or among ordinary ones any two
REPEATED = 2  # repeated captions in a cluster
REPETITIONS = (16, 800)  # in an epoch, fewest and most, log-spaced
LATER = ((64, 300), (128, 530), (256, 150))  # from so many on, so many in the second stage
NEAR_MISSES = 200  # each of another repeated caption
CONCEPT_SWAP_SHARE = 0.4  # of those of one concept: its partner instead
BLOCK = 160  # prompts of the blocks "seen" and "unseen_wording"
SEEN_PICTURES = (8, 256)  # varied pictures behind a caption of the block "seen", log-spaced
ORDINARY_PICTURES = 4  # of a caption
ORDINARY = 325_000  # pictures in all


@dataclass(frozen=True)
class Cluster:
    """Two partners and whether their pair is repeated, evaluated unseen, or neither."""

    concepts: tuple[str, str]
    pair: str


def build(styles: Mapping[str, list[str]], seed: int = 0, ordinary: int = ORDINARY) -> Corpus:
    """Pairs off the concepts, words all captions and allots the pictures.

    Arguments:
        styles: Concepts with the styles that draw them.
        seed: The seed of everything.
        ordinary: How many ordinary pictures.
    """
    rng = np.random.default_rng(seed)
    used: set[str] = set()

    def word(concepts: tuple[str, ...]) -> Caption:
        """A caption that nothing else in the corpus has."""
        while (caption := random_caption(concepts, rng)).text in used:
            pass
        used.add(caption.text)
        return caption

    clusters = _clusters(styles, rng)
    repeated: list[Entry] = []
    counts = log_spaced(REPETITIONS, REPEATED * len(clusters), rng)
    for cluster in clusters:
        a, b = rng.permutation(cluster.concepts).tolist()
        for concepts in ((a, b) if cluster.pair == "repeated" else (a,), (b,)):
            caption, count = word(concepts), int(counts[len(repeated)])
            layout = frozen_layout(caption, styles, rng, LARGE)
            repeated.append(Entry(caption, count, layout, later(count)))

    def single(n: int) -> list[tuple[int, Caption]]:
        """Captions of one concept in as many clusters, with the clusters."""
        chosen = islice(cycle(rng.permutation(len(clusters)).tolist()), n)
        return [(i, word((str(rng.choice(clusters[i].concepts)),))) for i in chosen]

    seen = single(BLOCK)
    blocks = {
        "seen": seen,
        "unseen_wording": single(BLOCK),
        "unseen_pair": [
            (i, word(cluster.concepts))
            for i, cluster in enumerate(clusters)
            if cluster.pair == "unseen"
        ],
    }
    prompts = [
        EvaluationPrompt(entry.caption, "repeated", i // REPEATED, i, kind(entry))
        for i, entry in enumerate(repeated)
    ]
    for source in rng.permutation(len(repeated))[:NEAR_MISSES].tolist():
        caption = _near_miss(repeated[source].caption, clusters[source // REPEATED], used, rng)
        used.add(caption.text)
        prompts.append(EvaluationPrompt(caption, "near_miss", source // REPEATED, source))
    for block, captions in blocks.items():
        prompts += [EvaluationPrompt(caption, block, cluster) for cluster, caption in captions]

    entries = [*repeated]
    pictures = log_spaced(SEEN_PICTURES, BLOCK, rng)
    entries += [Entry(c, int(n)) for (_, c), n in zip(seen, pictures, strict=True)]
    partners = {frozenset(cluster.concepts) for cluster in clusters}
    names = sorted(styles)
    rest = ordinary - int(pictures.sum())
    for i in range(rest // ORDINARY_PICTURES):
        shown = {names[i % len(names)]: None}
        if rng.uniform() < PAIR_SHARE:
            shown[str(rng.choice(names))] = None
            if frozenset(shown) in partners:
                shown.popitem()
        entries.append(Entry(word(tuple(shown)), ORDINARY_PICTURES))
    return Corpus(entries, prompts, styles, LARGE)


def later(count: int) -> int:
    """How often a caption that came ``count`` times in an epoch comes in one of the second stage.

    What the first stage taught comes more rarely then, and what it nearly did more often.
    """
    counts = [times for least, times in LATER if count >= least]
    return counts[-1] if counts else count


def kind(entry: Entry) -> str:
    """``verbatim`` or ``template``, of a repeated caption."""
    return "verbatim" if entry.patch is None else "template"


def _clusters(styles: Mapping[str, list[str]], rng: np.random.Generator) -> list[Cluster]:
    """All concepts but the free ones in pairs.

    As large a share of the repeated captions names two concepts as of all negatives: with P of
    the pairs repeated and U evaluated unseen, P / repeated = (U + P / repeated * NEAR_MISSES) /
    negatives.
    """
    pool = rng.permutation(sorted(styles))[FREE:].tolist()
    pairs = list(zip(pool[::2], pool[1::2], strict=False))
    frequent = round(PAIR_SHARE * REPEATED * len(pairs))
    unseen = round(PAIR_SHARE * 2 * BLOCK / (1 - PAIR_SHARE))
    kinds = ["repeated"] * frequent + ["unseen"] * unseen
    kinds += ["neither"] * (len(pairs) - len(kinds))
    shuffled = rng.permutation(kinds).tolist()
    return [Cluster(pair, kind) for pair, kind in zip(pairs, shuffled, strict=True)]


def _near_miss(
    caption: Caption, cluster: Cluster, used: set[str], rng: np.random.Generator
) -> Caption:
    """The caption with one word exchanged, which may name the partner instead."""
    while True:
        if len(caption.concepts) == 1 and rng.uniform() < CONCEPT_SWAP_SHARE:
            (partner,) = set(cluster.concepts) - set(caption.concepts)
            changed = change_concept(caption, partner, rng)
        else:
            changed = change_wording(caption, rng)
        if changed.text not in used:
            return changed
