"""The training pictures of a prompt set."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from anisomem.datasets.prompts import PromptSet
from anisomem.measures.base import Picture, References


def of(prompts: PromptSet, data: str | None) -> References:
    """Those that the set carries."""
    pictures = {
        key: [decoded(content)]
        for key, content in zip(prompts.ids, prompts.pictures or [], strict=True)
        if content
    }
    return References(pictures)


def decoded(content: bytes) -> Picture:
    """An encoded picture, uint8 ``[h, w, 3]``."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))
