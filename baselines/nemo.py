r"""Likeness of what a prompt's noise samples are predicted to become.

.. math:: \max_{i < j} \text{MS-SSIM}(\bar\delta_i, \bar\delta_j), \qquad
    \delta_i = \varepsilon_c(x_{T,i}, t) - x_{T,i}

at the second step (t = 961 of a 50-step DDIM schedule), :math:`\bar\delta` scaled to [0, 1] by the
least and largest value of every channel. Hintersdorf et al. (Finding NeMo), NeurIPS 2024, who use
it with 10 noise samples to tell prompts that memorize verbatim; from 0 to 1.

In the released code the second step is read at the latents of the first: its loop goes on to
t = 961 without a scheduler step in between. ``scheduler_step=False`` (default) reproduces it,
``True`` takes the latents after an unguided step; either way :math:`x_T` is subtracted. Its
detection passes no guidance. (Its script for the threshold, ``2_compute_pairwise_ssim.py``, passes
guidance 7 with the two halves named the wrong way round; that is not reproduced.)

:func:`ms_ssim` follows torchmetrics, which the released code calls. There, a Gaussian window's
width comes from its sigma of 1.5 alone (11), ``kernel_size`` only bounds the size of the input,
and the range that the constants depend on is that of all pairs of the call, anew at each scale.
``kernel`` here is the window's width, sigma 1.5 * kernel / 11, so that 11 is what is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from anisomem import papers
from anisomem.detection.base import (
    AcrossSamples,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import NOISE, UNGUIDED, Conditional, Noise, nfe_until
from anisomem.detection.options import Whole
from anisomem.detection.places import At
from anisomem.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel
    from anisomem.models.prediction import Prediction

WINDOW, SIGMA = 11, 1.5


def ms_ssim(first: Tensor, second: Tensor, kernel: int, betas: Sequence[float]) -> Tensor:
    r"""Multi-scale structural similarity of pairs, ``[P, C, H, W]`` each to ``[P]``.

    Contrast and structure at every scale, luminance at the coarsest alone, each to the power of
    its beta; negative values are 0. Means are over channels and positions, at all scales but the
    coarsest without a margin of half a window. Wang, Simoncelli & Bovik, 2003.

    Arguments:
        first, second: The pairs.
        kernel: Width of the Gaussian window, odd.
        betas: Exponents from the finest scale to the coarsest.
    """
    import torch
    from torch.nn.functional import avg_pool2d, conv2d, pad

    channels, margin = first.shape[1], kernel // 2
    taps = torch.arange(kernel).to(first) - margin
    profile = torch.exp(-0.5 * (taps / (SIGMA * kernel / WINDOW)) ** 2)
    profile = profile / profile.sum()
    window = torch.outer(profile, profile).expand(channels, 1, -1, -1)
    result = torch.ones(len(first)).to(first)
    for scale, beta in enumerate(betas):
        if scale:
            first, second = avg_pool2d(first, 2), avg_pool2d(second, 2)
        spread = torch.maximum(first.max() - first.min(), second.max() - second.min())
        low, high = (0.01 * spread) ** 2, (0.03 * spread) ** 2
        a, b = (pad(x, [margin] * 4, mode="reflect") for x in (first, second))
        averages = conv2d(torch.cat([a, b, a * a, b * b, a * b]), window, groups=channels)
        mean_a, mean_b, square_a, square_b, product = averages.chunk(5)
        variance = (square_a - mean_a**2).clamp(min=0) + (square_b - mean_b**2).clamp(min=0)
        similarity = (2 * (product - mean_a * mean_b) + high) / (variance + high)
        if scale == len(betas) - 1:
            similarity = similarity * (2 * mean_a * mean_b + low) / (mean_a**2 + mean_b**2 + low)
        else:
            similarity = similarity[..., margin:-margin, margin:-margin]
        result = result * similarity.mean(dim=(1, 2, 3)).relu() ** beta
    return result


@dataclass
class NeMoSSIM(Detector):
    """The largest likeness of two noise samples.

    Arguments:
        n: Noise samples, at least 2.
        at: Where the prediction is read.
        scheduler_step: Whether latents are those of an unguided trajectory, see the module.
        kernel: Width of the window, odd and at least 3.
        betas: Exponents from the finest scale to the coarsest.

    Raises:
        UserError: A window or exponents that make no sense.
    """

    info = Info(
        papers.HINTERSDORF,
        "the prediction with prompt on several samples of pure noise",
        "likeness",
    )
    n: Annotated[int, Whole(2)] = 10
    at: At = At("step:1")
    scheduler_step: bool = False
    kernel: Annotated[int, Whole(3)] = WINDOW
    betas: Sequence[float] = (0.33, 0.33, 0.33)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise UserError(f"kernel must be an odd integer, got {self.kernel!r}")
        if not self.betas or not all(beta > 0 for beta in self.betas):
            raise UserError(f"betas must be positive numbers, got {list(self.betas)}")

    @property
    def latents(self) -> str:
        """What the prediction is evaluated at."""
        return UNGUIDED if self.scheduler_step else NOISE

    def components(self) -> Components:
        scales = "betas=" + "/".join(f"{beta:.12g}" for beta in self.betas)
        choices = f"kernel={self.kernel}", scales, self.at, self.latents
        compute = partial(_likeness, kernel=self.kernel, betas=tuple(self.betas))
        needs = Conditional(self.at, self.latents), Noise()
        return [
            AcrossSamples(component_name("nemo/max_ms_ssim", *choices), needs, change, compute)
        ]

    def cost(self) -> Cost:
        return Cost(nfe=nfe_until(self.at, self.latents) * self.n)

    def require_of(self, model: DiffusionModel) -> None:
        self._require_size(min(model.latent_shape[1:]))

    def _require_size(self, side: int) -> None:
        """Raises where torchmetrics would, naming what fits."""
        scales = len(self.betas)
        if _fits(side, self.kernel, scales):
            return
        fitting = (
            f"give detector.{self.name}.kernel={kernel} "
            f"'detector.{self.name}.betas={[round(1 / fewer, 3)] * fewer}'"
            for fewer in range(scales, 0, -1)
            for kernel in range(self.kernel, 1, -2)
            if _fits(side, kernel, fewer)
        )
        raise UserError(
            f"latents {side} wide are too small for {self.name} with kernel {self.kernel} and "
            f"{scales} betas; {next(fitting, 'no kernel fits')}"
        )


def _fits(side: int, kernel: int, scales: int) -> bool:
    """Whether torchmetrics compares latents this wide with such a window and so many scales."""
    bound = side >= 2**scales and side // max(1, scales - 1) ** 2 >= kernel
    return bound and side // 2 ** (scales - 1) > kernel // 2


def change(prediction: Prediction, noise: Tensor) -> Tensor:
    """Predicted minus initial noise, every channel from 0 to 1, float32 ``[B, C, H, W]``.

    Windows over double precision take sixteen times as long.
    """
    epsilon = prediction.epsilon
    difference = epsilon - noise.to(epsilon)
    least, most = difference.amin(dim=(2, 3), keepdim=True), difference.amax((2, 3), keepdim=True)
    return ((difference - least) / (most - least)).float()


def _likeness(changes: Sequence[Tensor], kernel: int, betas: Sequence[float]) -> Tensor:
    """``[B]`` from n times ``[B, C, H, W]``; 0 where there is no pair yet."""
    import torch

    if len(changes) == 1:
        return torch.zeros(len(changes[0]))
    first, second = torch.triu_indices(len(changes), len(changes), offset=1)
    # One prompt at a time: the constants depend on the range over its pairs.
    own = torch.stack(list(changes), dim=1)
    return torch.stack([ms_ssim(x[first], x[second], kernel, betas).amax() for x in own])
