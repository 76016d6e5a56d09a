"""Training captions and evaluation prompts of the bundled model, a function of one seed.

The corpus imitates a scraped one. Most captions come with pictures that differ in everything the
words leave open; *repeated* captions always come with the same picture, as often as LAION repeats
its most duplicated ones. Whether a model then memorizes them is measured afterwards, not assumed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from anisomem.testbed.captions import Caption, change_concept, change_wording, random_caption
from anisomem.testbed.pictures import (
    SMALL,
    Canvas,
    Icons,
    PictureLayout,
    draw,
    random_layout,
    repaint,
)

REPEATED = 300  # captions that always come with the same picture
REPETITIONS = (8, 1024)  # fewest and most, log-spaced
TEMPLATE_SHARE = 1 / 3  # of the repeated captions: a patch of the picture varies
BLOCK = 130  # evaluation prompts in a block of negatives
NEAR_MISSES = 200  # more of them: some will turn out to trigger the memorized picture
CONCEPT_SWAP_SHARE = 0.4  # of the near misses: the exchanged word is the concept
SEEN_PICTURES = (8, 256)  # varied pictures behind a caption of the block "seen", log-spaced
ORDINARY_CAPTIONS = 4  # per concept, and as many pairs of concepts
ORDINARY_PICTURES = 6  # per ordinary caption of one concept
PAIR_CAPTIONS = 1500  # ordinary captions of two concepts, PAIR_PICTURES each
PAIR_PICTURES = 4

REFERENCES = 200  # captions outside the corpus whose concepts no evaluation prompt has

# Shares of two-concept captions. The block "unseen_pair" has nothing else; with these the word
# "and" and the length are as frequent among the repeated captions as among all negatives:
# (130 + 0.1 * 260 + 0.4 * 200) / 590 = 0.4.
REPEATED_PAIRS = 0.4
SEEN_PAIRS = 0.1


@dataclass(frozen=True)
class Entry:
    """A training caption that comes with ``count`` pictures in an epoch.

    ``layout`` is the one picture all of them show (but for its patch, in a template), or None
    where every picture is drawn anew. ``later`` is the count in a training's second stage.
    """

    caption: Caption
    count: int
    layout: PictureLayout | None = None
    later: int = 0

    @property
    def patch(self) -> tuple[int, int] | None:
        """The corner of the square that varies in a template."""
        return self.layout.patch if self.layout else None


@dataclass(frozen=True)
class EvaluationPrompt:
    """A prompt whose memorization is to be measured.

    ``block`` names its origin; prompts of one ``cluster`` share concepts; ``source`` is the index
    of the repeated caption that it is or was derived from.
    """

    caption: Caption
    block: str
    cluster: int
    source: int | None = None
    kind: str = "ordinary"


@dataclass(frozen=True)
class Corpus:
    """All training entries (the repeated ones first) and all evaluation prompts."""

    entries: list[Entry]
    prompts: list[EvaluationPrompt]
    styles: Mapping[str, list[str]]
    canvas: Canvas = SMALL

    def pictures(self, index: int, icons: Icons) -> list[np.ndarray]:
        """The distinct pictures of entry ``index``, drawn from a generator of its own."""
        entry, rng = self.entries[index], np.random.default_rng((2, index))
        if entry.layout is None:
            concepts = entry.caption.concepts
            layouts = (
                random_layout(concepts, self.styles, rng, self.canvas) for _ in range(entry.count)
            )
            return [draw(layout, icons) for layout in layouts]
        picture = draw(entry.layout, icons)
        if entry.layout.patch is None:
            return [picture]
        fillings = rng.choice(sorted(self.styles), entry.count)
        return [
            repaint(
                picture,
                entry.layout.patch,
                random_layout((str(f),), self.styles, rng, self.canvas),
                icons,
            )
            for f in fillings
        ]


def build(styles: Mapping[str, list[str]], seed: int = 0) -> Corpus:
    """Allots concepts to roles, every evaluated concept to one cluster, and words the captions."""
    rng = np.random.default_rng(seed)
    pool = rng.permutation(sorted(styles)).tolist()
    used: set[str] = set()

    def word(concepts: tuple[str, ...]) -> Caption:
        """A caption that nothing else in the corpus has."""
        while (caption := random_caption(concepts, rng)).text in used:
            pass
        used.add(caption.text)
        return caption

    def fresh(n: int, pair_share: float) -> list[Caption]:
        """Captions of concepts that no evaluation prompt has used, in random order."""
        pairs = rng.permutation(np.arange(n) < round(pair_share * n))
        return [word(tuple(pool.pop() for _ in range(1 + pair))) for pair in pairs.astype(int)]

    repeated = [
        Entry(caption, int(count), frozen_layout(caption, styles, rng))
        for caption, count in zip(
            fresh(REPEATED, REPEATED_PAIRS), log_spaced(REPETITIONS, REPEATED, rng), strict=True
        )
    ]
    seen = [
        Entry(caption, int(count))
        for caption, count in zip(
            fresh(BLOCK, SEEN_PAIRS), log_spaced(SEEN_PICTURES, BLOCK, rng), strict=True
        )
    ]
    sources = rng.permutation(REPEATED)[:NEAR_MISSES].tolist()
    blocks: dict[str, Iterable[Caption]] = {
        "seen": [entry.caption for entry in seen],
        "unseen_wording": fresh(BLOCK, SEEN_PAIRS),
        "unseen_pair": fresh(BLOCK, 1.0),
    }
    prompts = [
        EvaluationPrompt(
            entry.caption, "repeated", i, i, "template" if entry.layout.patch else "verbatim"
        )
        for i, entry in enumerate(repeated)
        if entry.layout
    ]
    for source in sources:
        caption = _near_miss(repeated[source].caption, pool, rng)
        used.add(caption.text)
        prompts.append(EvaluationPrompt(caption, "near_miss", source, source))
    for block, captions in blocks.items():
        prompts += [EvaluationPrompt(c, block, len(prompts) + i) for i, c in enumerate(captions)]

    ordinary = [
        Entry(word((concept,)), ORDINARY_PICTURES)
        for concept in sorted(styles)
        for _ in range(ORDINARY_CAPTIONS)
    ]
    tested = {frozenset(p.caption.concepts) for p in prompts}
    while len(ordinary) < len(styles) * ORDINARY_CAPTIONS + PAIR_CAPTIONS:
        pair = tuple(str(c) for c in rng.choice(sorted(styles), 2, replace=False))
        if frozenset(pair) not in tested:
            ordinary.append(Entry(word(pair), PAIR_PICTURES))
    return Corpus([*repeated, *seen, *ordinary], prompts, styles)


def reference_captions(corpus: Corpus, seed: int = 0) -> list[str]:
    """Captions that no picture was trained with and that no evaluation prompt is kin to.

    As many pair concepts as of the evaluation prompts, to a twentieth.
    """
    pairs = np.mean([len(prompt.caption.concepts) == 2 for prompt in corpus.prompts])
    share = Fraction(round(20 * pairs), 20)
    rng = np.random.default_rng((3, seed))
    tested = {concept for prompt in corpus.prompts for concept in prompt.caption.concepts}
    free = sorted(set(corpus.styles) - tested)
    used = {entry.caption.text for entry in corpus.entries}
    captions: dict[str, None] = {}
    while len(captions) < REFERENCES:
        concepts = rng.choice(
            free, 1 + (len(captions) % share.denominator < share.numerator), replace=False
        )
        text = random_caption(tuple(map(str, concepts)), rng).text
        if text not in used:
            captions[text] = None
    return list(captions)


def log_spaced(bounds: tuple[int, int], n: int, rng: np.random.Generator) -> np.ndarray:
    """Counts from the fewest to the most in equal ratios, shuffled."""
    return rng.permutation(np.geomspace(*bounds, n).round().astype(int))


def frozen_layout(
    caption: Caption,
    styles: Mapping[str, list[str]],
    rng: np.random.Generator,
    canvas: Canvas = SMALL,
) -> PictureLayout:
    """The picture of a repeated caption, some with a patch that will vary."""
    layout = random_layout(caption.concepts, styles, rng, canvas)
    left, top = (int(v) for v in rng.integers(0, canvas.side - canvas.patch + 1, 2))
    template = rng.uniform() < TEMPLATE_SHARE
    return replace(layout, patch=(left, top)) if template else layout


def _near_miss(caption: Caption, pool: list[str], rng: np.random.Generator) -> Caption:
    """The caption with one word exchanged; a new concept comes out of the pool of unused ones."""
    single_words = [c for c in pool if " " not in c]
    exchangeable = all(" " not in c for c in caption.concepts)
    if exchangeable and rng.uniform() < CONCEPT_SWAP_SHARE:
        concept = str(rng.choice(single_words))
        pool.remove(concept)
        return change_concept(caption, concept, rng)
    return change_wording(caption, rng)
