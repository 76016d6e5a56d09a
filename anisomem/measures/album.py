"""Training pictures as measures compare with them: each once, at the size of the generated ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from anisomem.measures.base import Picture, References


@dataclass
class Album:
    """Every distinct training picture once, whichever prompts it belongs to.

    Attributes:
        pictures: ``[h, w, 3]`` each.
        rows: Prompt id to those of its pictures.
    """

    pictures: list[Picture] = field(default_factory=list)
    rows: dict[str, list[int]] = field(default_factory=dict)
    _fitted: npt.NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, references: References) -> Album:
        """Pictures are the same where every pixel is."""
        album = cls()
        known: dict[tuple[tuple[int, ...], bytes], int] = {}
        for key, pictures in references.pictures.items():
            rows = []
            for picture in pictures:
                content = picture.shape, sha256(np.ascontiguousarray(picture)).digest()
                if content not in known:
                    known[content] = len(album.pictures)
                    album.pictures.append(picture)
                rows.append(known[content])
            album.rows[key] = list(dict.fromkeys(rows))
        return album

    def fitted(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """All pictures by :func:`fitted`, ``[R, height, width, 3]``; kept for the next call."""
        if self._fitted is None or self._fitted.shape[1:3] != (height, width):
            self._fitted = np.stack([fitted(one, height, width) for one in self.pictures])
        return self._fitted


def fitted(picture: Picture, height: int, width: int) -> Picture:
    """A picture of another size, cut at its centre to the wanted shape and resized.

    As latent diffusion models see their training pictures: Pillow's ``ImageOps.fit`` with
    ``BICUBIC``, which averages where it shrinks. One that has the size is left as it is.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture)
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))
