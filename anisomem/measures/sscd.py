"""Copying by SSCD, a descriptor for copy detection (Pizzi et al., 2022).

Its weights are verified in ``weights``; copying without a network is in ``pixels``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from anisomem.errors import UserError, one_of
from anisomem.measures.base import (
    Array,
    Generated,
    Measure,
    Picture,
    ShareAbove,
    Statistic,
    TrainingPictures,
    Vectors,
    largest,
    largest_three,
    mean,
)
from anisomem.measures.weights import WeightsFile, device

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32  # pictures in a forward pass
Channels = tuple[float, float, float]
IMAGENET: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: tuple[Channels, Channels] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Convention:
    """How a released code prepares pictures, and the model that it uses.

    Attributes:
        model: Its name in the SSCD repository.
        side: Pixels to resize to: the whole picture, which stretches it, or with ``crop`` its
            shorter side.
        crop: Side of the square cut from the middle afterwards.
        normalisation: Mean and standard deviation of the colours.
    """

    model: str
    side: int
    crop: int | None
    normalisation: tuple[Channels, Channels]

    def prepared(self, picture: Picture) -> npt.NDArray[np.float32]:
        """The model's input, ``[3, h, w]``.

        Resized as torchvision resizes a Pillow picture: Pillow's bilinear filter, which widens
        where it shrinks (antialias); a fraction of a pixel is cut off the longer side.
        """
        image = Image.fromarray(picture)
        size = (self.side, self.side)
        if self.crop is not None:
            short = min(image.size)
            size = (self.side * image.width // short, self.side * image.height // short)
        image = image.resize(size, Image.Resampling.BILINEAR)
        if self.crop is not None:
            left, top = (round((n - self.crop) / 2) for n in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        average, deviation = np.array(self.normalisation, np.float32)
        colours = np.asarray(image, np.float32) / 255
        return ((colours - average) / deviation).transpose(2, 0, 1)


CONVENTIONS = {
    "membench": Convention("sscd_disc_large", 288, None, IMAGENET),
    "jeon": Convention("sscd_disc_large", 256, 224, HALF),
    "nemo": Convention("sscd_disc_mixup", 320, None, IMAGENET),
}


class Descriptor:
    """SSCD's descriptors of pictures.

    The model is TorchScript, that is a program: whoever can replace the file runs code on this
    machine. So its sha256 is asked for a path too, and checked on the bytes that are then loaded.

    Arguments:
        weights: The file.
        convention: A name of :data:`CONVENTIONS`.
        device_name: Where it computes, ``auto`` for CUDA if there is one.

    Raises:
        UserError: Weights that are not there, are others, or are no TorchScript model of pictures.
    """

    def __init__(self, weights: WeightsFile, convention: str, device_name: str) -> None:
        import torch

        content = weights.read()
        self.url, self.prepare = weights.url, CONVENTIONS[convention].prepared
        self.device = device(device_name)
        try:
            model = torch.jit.load(io.BytesIO(content), self.device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise UserError(
                f"{self.url} is no TorchScript model: {str(error).strip().splitlines()[0]}"
            ) from None
        self.model: Callable[[Tensor], Tensor] = model.eval()

    def __call__(self, pictures: Sequence[Picture] | npt.NDArray[np.uint8]) -> Tensor:
        """Descriptors of length 1, float32 ``[n, d]``, on the CPU."""
        import torch
        from torch.nn.functional import normalize

        descriptors = []
        for begin in range(0, len(pictures), BATCH):
            batch = np.stack([self.prepare(one) for one in pictures[begin : begin + BATCH]])
            with torch.inference_mode():
                descriptors.append(self.model(torch.from_numpy(batch).to(self.device)))
        described = torch.cat(descriptors)
        if described.ndim != 2:
            raise UserError(
                f"{self.url} is no SSCD model: it makes {list(described.shape)} of "
                f"{len(pictures)} pictures, expected one vector for each"
            )
        return normalize(described.float(), dim=1).cpu()


@dataclass
class Sscd(Measure, Vectors):
    r"""Cosine similarity of SSCD descriptors to the most similar training picture.

    .. math:: \max_j \frac{f(x)^\top f(t_j)}{\|f(x)\| \|f(t_j)\|}

    Arguments:
        weights: Path or ``https://`` address of a TorchScript file.
        sha256: The sha256 of its bytes.
        convention: A name of :data:`CONVENTIONS`. Numbers of two are not comparable.

    Raises:
        UserError: An unknown convention, weights that are not there, are others, or are no
            TorchScript model of pictures.
    """

    of_copies: ClassVar[bool] = True
    quantity: ClassVar[str] = "SSCD similarity"
    meaning: ClassVar[str] = (
        "The cosine of two descriptors that were trained to find copies, also cut and recoloured"
        " ones. A copy is near 1; published work counts pictures above 0.5."
    )
    larger: ClassVar[bool] = True
    weights: str
    sha256: str
    convention: str = "membench"
    _described: Descriptor = field(init=False, repr=False, compare=False)
    _references: TrainingPictures = field(init=False, repr=False, compare=False)
    _known: dict[bytes, Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        one_of("SSCD convention", self.convention, CONVENTIONS)
        WeightsFile(self.weights, self.sha256)

    @property
    def statistics(self) -> Sequence[Statistic]:
        def one(name: str, reduce: Callable[[Array], Array], percent: bool = False) -> Statistic:
            return Statistic(f"{name} ({self.convention})", "copying", "sscd", reduce, percent)

        return (
            one("SSCD", largest),
            one("SSCD, top 3", largest_three),
            one("SSCD > 0.5", ShareAbove(0.5), percent=True),
            one("SSCD, mean", mean),
        )

    def load(self, device_name: str) -> None:
        weights = WeightsFile(self.weights, self.sha256)
        self._described = Descriptor(weights, self.convention, device_name)

    def start(self, references: TrainingPictures, device_name: str) -> None:
        self.load(device_name)
        self._references, self._known = references, {}

    def __call__(self, generated: Generated) -> dict[str, Array]:
        known = self._of_training(self._references.pictures[generated.id])
        similarity = self._described(generated.pictures) @ known.T
        return {"sscd": similarity.amax(dim=1).double().numpy()}

    def vectors(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """Descriptors, of length 1."""
        return self._described(pictures).numpy()

    def said(self, distances: Array) -> Array:
        r"""The cosine of two of them, :math:`1 - d^2 / 2`."""
        return 1 - np.square(distances) / 2

    def _of_training(self, pictures: Sequence[Picture]) -> Tensor:
        """Descriptors that are kept: prompts share pictures, and are asked about many times."""
        import torch

        keys = [sha256(one.tobytes() + str(one.shape).encode()).digest() for one in pictures]
        for key, picture in zip(keys, pictures, strict=True):
            if key not in self._known:
                self._known[key] = self._described([picture])[0]
        return torch.stack([self._known[key] for key in keys])
