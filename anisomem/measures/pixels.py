"""Copying by pixels: needs no model and no download.

Copying as a trained descriptor sees it is in ``sscd``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from scipy import fft
from scipy.ndimage import correlate1d

from anisomem.errors import UserError
from anisomem.measures.base import (
    Array,
    Generated,
    Measure,
    Picture,
    Statistic,
    TrainingPictures,
    Vectors,
    largest,
    mean,
)

WHITE = 255.0
TAPS, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # of SSIM


def fitted(picture: Picture, height: int, width: int) -> Picture:
    """Cropped about the centre to another aspect, then resized by Pillow's bicubic filter.

    Stable Diffusion was trained on centre crops; stretching would compare other places.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def rms(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    r"""Root-mean-square difference of colours in [0, 1] over the last three axes.

    .. math:: \sqrt{\tfrac{1}{3HW} \sum_i (a_i - b_i)^2}

    Arguments:
        a, b: Colours in 0 to 255, ``[..., H, W, 3]``, broadcast.
    """
    difference = np.subtract(a, b, dtype=np.float64) / WHITE
    return np.sqrt(np.square(difference).mean(axis=(-3, -2, -1)))


class Shifted:
    """Distances of pictures to others, at the best of small shifts.

    Arguments:
        pictures: uint8 ``[S, H, W, 3]``.
        shift: The largest, in pixels, in each direction.

    Raises:
        UserError: Pictures no larger than the shift.
    """

    def __init__(self, pictures: npt.NDArray[np.uint8], shift: int) -> None:
        self.height, self.width = pictures.shape[1:3]
        if shift >= min(self.height, self.width):
            raise UserError(
                f"pictures of {self.width}×{self.height} cannot be shifted by {shift} px"
            )
        self.lags = np.arange(-shift, shift + 1)
        # Room for the largest shift, so that nothing wraps around.
        self.size = [fft.next_fast_len(n + shift, real=True) for n in pictures.shape[1:3]]
        self.spectra = fft.rfft2(pictures.astype(np.float64), self.size, axes=(1, 2))
        self.energies = self._energies(pictures, self.lags)

    def __call__(self, other: Picture) -> Array:
        r"""The smallest RMS difference of colours to one picture, ``[S]``.

        .. math:: \min_{|u|, |v| \le s} \sqrt{\tfrac{1}{3|O|} \sum_{(y, x) \in O, c}
            (a_{y + u, x + v, c} - b_{y, x, c})^2}

        with the overlap :math:`O` of the shifted pictures. Exact: squares are expanded, and the
        products' sums, from a Fourier transform, are integers.
        """
        spectrum = fft.rfft2(other.astype(np.float64), self.size, axes=(0, 1))
        products = (self.spectra * spectrum.conj()).sum(axis=-1)
        correlation = np.rint(fft.irfft2(products, self.size, axes=(1, 2)))
        correlation = correlation[:, self.lags[:, None], self.lags]
        squares = self.energies + self._energies(other[None], -self.lags) - 2 * correlation
        heights, widths = (n - abs(self.lags) for n in (self.height, self.width))
        means = squares / (3 * heights[:, None] * widths)
        return np.sqrt(means.min(axis=(1, 2))) / WHITE

    def _energies(self, pictures: npt.NDArray[np.uint8], lags: npt.NDArray[np.int_]) -> Array:
        """Sums of squares over the overlaps of all shifts, ``[S, U, V]``."""
        squares = np.square(pictures, dtype=np.int64).sum(axis=-1)
        total = np.pad(squares, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
        top, left = np.maximum(lags, 0)[:, None], np.maximum(lags, 0)
        bottom = self.height + np.minimum(lags, 0)[:, None]
        right = self.width + np.minimum(lags, 0)
        corners = total[:, bottom, right] - total[:, top, right]
        return (corners - total[:, bottom, left] + total[:, top, left]).astype(np.float64)


def smallest(values: Array) -> Array:
    """The smallest of a prompt's pictures, ``[N, S]`` to ``[N]``."""
    return values.min(axis=1)


@dataclass(frozen=True)
class ShareAtMost:
    """Share of a prompt's pictures whose number is a bound or smaller."""

    bound: float

    def __call__(self, values: Array) -> Array:
        return (values <= self.bound).mean(axis=1)


@dataclass
class PixelL2(Measure):
    r"""Normalised pixel distance to the nearest training picture (Carlini et al., 2023).

    Their :math:`\ell_2(a, b) = \sqrt{\sum_i (a_i - b_i)^2 / d}` on colours in [0, 1], at the best
    shift (:class:`Shifted`); they call a picture extracted where it is at most 0.15. It is not
    divided by the distance to other pictures, as they do on CIFAR-10. Training pictures are cut
    and resized (:func:`fitted`).

    Arguments:
        shift: Largest shift in pixels; 0 is Carlini's own.
        bound: The bound of an extracted picture.

    Raises:
        UserError: A negative shift, or pictures no larger than it.
    """

    of_copies: ClassVar[bool] = True
    shift: int = 4
    bound: float = 0.15
    _known: TrainingPictures = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise UserError(f"{self.name}.shift must be an integer from 0, got {self.shift}")

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (
            Statistic("pixel L2", "copying", "pixel_l2", mean, smaller=True),
            Statistic("pixel L2, nearest", "copying", "pixel_l2", smallest, smaller=True),
            Statistic(
                f"pixel L2 ≤ {self.bound:g}",
                "copying",
                "pixel_l2",
                ShareAtMost(self.bound),
                percent=True,
            ),
        )

    def start(self, references: TrainingPictures, device: str) -> None:
        self._known = references

    def __call__(self, generated: Generated) -> dict[str, Array]:
        shifted = Shifted(generated.pictures, self.shift)
        size = generated.pictures.shape[1:3]
        known = self._known.pictures[generated.id]
        return {"pixel_l2": np.min([shifted(fitted(one, *size)) for one in known], axis=0)}


class Structure:
    """Local means and variances of pictures, what SSIM compares.

    Arguments:
        pictures: uint8 ``[S, H, W, 3]``.

    Raises:
        UserError: Pictures smaller than the window of 11 pixels.
    """

    def __init__(self, pictures: npt.NDArray[np.uint8]) -> None:
        if min(pictures.shape[1:3]) < TAPS:
            height, width = pictures.shape[1:3]
            raise UserError(f"SSIM needs pictures of {TAPS} px a side, got {width}×{height}")
        self.values = pictures.astype(np.float64)
        self.mean = _windowed(self.values)
        self.variance = _windowed(np.square(self.values)) - np.square(self.mean)

    def similarity(self, other: Structure) -> Array:
        r"""SSIM to one picture, the mean over places and colours, ``[S]``.

        .. math:: \frac{(2\mu_a\mu_b + c_1)(2\sigma_{ab} + c_2)}
            {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)}

        in a Gaussian window of 11 pixels and :math:`\sigma = 1.5`, only where it lies inside,
        with :math:`c_k = (255 K_k)^2`, K 0.01 and 0.03 (Wang et al., 2004), on each colour.
        """
        c1, c2 = (WHITE * K1) ** 2, (WHITE * K2) ** 2
        covariance = _windowed(self.values * other.values) - self.mean * other.mean
        above = (2 * self.mean * other.mean + c1) * (2 * covariance + c2)
        squares = np.square(self.mean) + np.square(other.mean) + c1
        below = squares * (self.variance + other.variance + c2)
        return (above / below).mean(axis=(1, 2, 3))


def _windowed(values: Array) -> Array:
    """Weighted means in every window that lies inside, ``[S, H - 10, W - 10, 3]``."""
    half = TAPS // 2
    weights = np.exp(-np.square(np.arange(-half, half + 1) / SIGMA) / 2)
    weights /= weights.sum()
    for axis in (1, 2):
        values = correlate1d(values, weights, axis)
    return values[:, half:-half, half:-half]


@dataclass
class Ssim(Measure):
    """Structural similarity to the most similar training picture, see :class:`Structure`.

    Training pictures are cut and resized (:func:`fitted`).

    Raises:
        UserError: Pictures smaller than 11 pixels.
    """

    of_copies: ClassVar[bool] = True
    _known: TrainingPictures = field(init=False, repr=False, compare=False)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (
            Statistic("SSIM", "copying", "ssim", mean),
            Statistic("SSIM, most similar", "copying", "ssim", largest),
        )

    def start(self, references: TrainingPictures, device: str) -> None:
        self._known = references

    def __call__(self, generated: Generated) -> dict[str, Array]:
        structure, size = Structure(generated.pictures), generated.pictures.shape[1:3]
        known = self._known.pictures[generated.id]
        others = [Structure(fitted(one, *size)[None]) for one in known]
        return {"ssim": np.max([structure.similarity(other) for other in others], axis=0)}


@dataclass
class TrainingRank(Measure, Vectors):
    r"""Whether the nearest of all prompts' training pictures is the prompt's own.

    All pictures are cut and resized to ``side`` by ``side`` (:func:`fitted`) and compared by
    :func:`rms`. The rank is one more than the number of distinct training pictures that are
    strictly nearer than the prompt's nearest own,

    .. math:: 1 + |\{j : d(x, t_j) < \min_{i \in \text{own}} d(x, t_i)\}|

    so by chance it is 1 for a share of own to all pictures.

    Arguments:
        side: The side in pixels.

    Raises:
        UserError: Fewer than two distinct training pictures.
    """

    of_copies: ClassVar[bool] = True
    quantity: ClassVar[str] = "pixel distance"
    meaning: ClassVar[str] = (
        "The root-mean-square difference of colours in [0, 1], after both pictures are cut to the"
        " middle square and made small. A copy is near 0, and so are two pictures of one flat"
        " colour that are no copies."
    )
    side: int = 64
    _all: Array = field(init=False, repr=False, compare=False)
    _own: dict[str, list[int]] = field(init=False, repr=False, compare=False)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (
            Statistic("own picture nearest", "copying", "rank", ShareAtMost(1), percent=True),
            Statistic("rank of own picture", "copying", "rank", mean, smaller=True),
        )

    def start(self, references: TrainingPictures, device: str) -> None:
        rows: dict[bytes, int] = {}
        self._own = {
            key: [rows.setdefault(self._small(one).tobytes(), len(rows)) for one in pictures]
            for key, pictures in references.pictures.items()
        }
        if len(rows) < 2:
            raise UserError(
                f"{self.name} ranks the training pictures of all prompts, at least two; "
                f"got {len(rows)}"
            )
        self._all = np.stack([np.frombuffer(row, np.uint8) for row in rows]).astype(np.float64)

    def __call__(self, generated: Generated) -> dict[str, Array]:
        rows = np.stack([self._small(one).ravel() for one in generated.pictures])
        x = rows.astype(np.float64)
        # Integers below 2**53, so ties are ties.
        away = np.square(self._all).sum(axis=1) - 2 * x @ self._all.T
        nearest = away[:, self._own[generated.id]].min(axis=1, keepdims=True)
        return {"rank": 1.0 + (away < nearest).sum(axis=1)}

    def vectors(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """Colours in units by which the Euclidean distance is :func:`rms`."""
        rows = np.stack([self._small(one).ravel() for one in pictures]).astype(np.float32)
        return rows / np.float32(WHITE * np.sqrt(rows.shape[1]))

    def _small(self, picture: Picture) -> Picture:
        return fitted(picture, self.side, self.side)
