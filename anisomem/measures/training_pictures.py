"""The training pictures of a prompt set.

They are downloaded by :mod:`anisomem.datasets.pictures`; here those at hand are found and decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from anisomem.datasets import cards, images
from anisomem.datasets.pictures import Album, addresses
from anisomem.datasets.prompts import PromptSet
from anisomem.measures.base import Picture, TrainingPictures

Read = Callable[[], bytes]


class Decoded(Mapping[str, Sequence[Picture]]):
    """Pictures that are decoded when they are looked at: thousands of photographs fill a memory.

    Arguments:
        contents: Prompt id to what reads its encoded pictures.
    """

    def __init__(self, contents: Mapping[str, Sequence[Read]]) -> None:
        self.contents = contents

    def __getitem__(self, key: str) -> Sequence[Picture]:
        return [decoded(read(), key) for read in self.contents[key]]

    def __contains__(self, key: object) -> bool:
        return key in self.contents  # without decoding, as the inherited one would

    def __iter__(self) -> Iterator[str]:
        return iter(self.contents)

    def __len__(self) -> int:
        return len(self.contents)


def find_training_pictures(prompts: PromptSet, data: str | None) -> TrainingPictures:
    """Finds the pictures that the set carries, and those of its addresses that were fetched.

    A prompt that has neither a picture nor an address is not in it.

    Arguments:
        prompts: The prompt set.
        data: Folder that ``anisomem fetch NAME --pictures`` filled; null: the user's cache.

    Raises:
        UserError: A manifest or a picture is damaged.
    """
    contents: dict[str, Sequence[Read]] = {}
    for key, content in zip(prompts.ids, prompts.pictures or [], strict=False):
        if content is not None:
            contents[key] = [partial(bytes, content)]
    lacking: dict[str, str] = {}
    if not (named := addresses(prompts)):
        return TrainingPictures(Decoded(contents))
    album = Album(cards.folder(data))
    for key, urls in zip(prompts.ids, named, strict=True):
        if key in contents or not urls:
            continue
        digests = dict.fromkeys(digest for url in urls if (digest := album.find(url)))
        if digests:
            contents[key] = [partial(album.content, digest) for digest in digests]
        else:
            more = f" (and {len(urls) - 1} more)" if len(urls) > 1 else ""
            lacking[key] = f"{urls[0]}: {album.why(urls[0])}{more}"
    return TrainingPictures(Decoded(contents), lacking)


def decoded(content: bytes, key: str) -> Picture:
    """An encoded picture, uint8 ``[h, w, 3]``; transparency is dropped, as MemBench does.

    Arguments:
        content: The content of the picture.
        key: Id of its prompt.

    Raises:
        UserError: It cannot be decoded.
    """
    return np.asarray(images.decoded(content, f"training picture of {key}"))
