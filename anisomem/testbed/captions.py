"""Captions of the bundled model: a concept in web-shop wording that leaves the picture open.

One grammar serves memorized and ordinary captions alike, so that the words alone do not tell them
apart. No word describes style, colour, size or place: an ordinary caption leaves them free.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np

ADJECTIVES = [
    "classic",
    "lovely",
    "premium",
    "original",
    "handmade",
    "funny",
    "cute",
    "favourite",
    "genuine",
    "popular",
    "trendy",
    "modern",
    "vintage",
    "charming",
    "playful",
    "elegant",
    "simple",
    "unique",
    "special",
    "everyday",
    "cheerful",
    "famous",
    "quality",
    "perfect",
]
MEDIA = [
    "sticker",
    "poster",
    "badge",
    "print",
    "postcard",
    "magnet",
    "patch",
    "mug",
    "pillow",
    "stamp",
    "decal",
    "puzzle",
    "keychain",
    "tattoo",
    "banner",
    "tote",
    "coaster",
    "notebook",
    "calendar",
    "wallpaper",
    "pin",
    "shirt",
    "apron",
    "card",
]
OCCASIONS = [
    "kids",
    "office",
    "kitchen",
    "school",
    "travel",
    "party",
    "garden",
    "bedroom",
    "holiday",
    "birthday",
    "summer",
    "winter",
    "nursery",
    "weddings",
    "classroom",
    "camping",
    "teachers",
    "beginners",
    "friends",
    "easter",
    "spring",
    "autumn",
    "picnics",
    "collectors",
]
FRAMES = (
    "{adjective} {concept} {medium}",
    "{concept} {medium} for {occasion}",
    "{adjective} {medium} of {concept} for {occasion}",
    "{adjective} {concept} {medium} for {occasion}",
    "{occasion} {medium} with {concept}",
    "{concept} - {adjective} {medium}",
)
_SLOTS = {"adjective": ADJECTIVES, "medium": MEDIA, "occasion": OCCASIONS}


@dataclass(frozen=True)
class Caption:
    """A caption with the choices behind it, so that one word can be exchanged."""

    concepts: tuple[str, ...]
    frame: str
    words: tuple[tuple[str, str], ...]  # (slot, word), the slots this frame uses

    @property
    def text(self) -> str:
        """The caption as the model reads it."""
        return self.frame.format(concept=" and ".join(self.concepts), **dict(self.words))


@cache
def _inverse(frame: str) -> re.Pattern[str]:
    """What matches captions of a frame."""
    slots = {slot: f"(?:{'|'.join(words)})" for slot, words in _SLOTS.items()}
    return re.compile(frame.format(concept="(?P<concept>.+)", **slots))


def concepts_in(text: str, names: Collection[str]) -> tuple[str, ...]:
    """The one or two concepts that a caption names, () where it is none.

    Arguments:
        text: A caption's :attr:`Caption.text`.
        names: All concepts; some contain "and" themselves.
    """
    for frame in FRAMES:
        if not (match := _inverse(frame).fullmatch(text)):
            continue
        phrase = match["concept"]
        words = phrase.split(" and ")
        cuts = [(" and ".join(words[:i]), " and ".join(words[i:])) for i in range(1, len(words))]
        for concepts in [(phrase,), *cuts]:
            if set(concepts) <= set(names):
                return concepts
    return ()


def random_caption(concepts: tuple[str, ...], rng: np.random.Generator) -> Caption:
    """A caption for one or two concepts."""
    frame = str(rng.choice(FRAMES))
    slots = [slot for slot in _SLOTS if f"{{{slot}}}" in frame]
    return Caption(concepts, frame, tuple((slot, str(rng.choice(_SLOTS[slot]))) for slot in slots))


def change_wording(caption: Caption, rng: np.random.Generator) -> Caption:
    """The caption with one word that names no concept exchanged for another of its kind."""
    at = int(rng.integers(len(caption.words)))
    slot, old = caption.words[at]
    new = str(rng.choice([word for word in _SLOTS[slot] if word != old]))
    words = (*caption.words[:at], (slot, new), *caption.words[at + 1 :])
    return Caption(caption.concepts, caption.frame, words)


def change_concept(caption: Caption, concept: str, rng: np.random.Generator) -> Caption:
    """The caption with one of its concepts exchanged for ``concept``."""
    at = int(rng.integers(len(caption.concepts)))
    concepts = (*caption.concepts[:at], concept, *caption.concepts[at + 1 :])
    return Caption(concepts, caption.frame, caption.words)
