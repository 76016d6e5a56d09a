"""Small trainings that differ from a first one in one factor each.

They are for questions about training, such as what decides the sign of an alignment: forty
pictures are repeated, each with a caption of its own, beside ordinary ones. All arms have the same
captions. What is asked of the trained networks is no matter of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from anisomem.testbed import icons, objectives, pictures
from anisomem.testbed.autoencoder import to_tensor
from anisomem.testbed.captions import random_caption
from anisomem.testbed.diffusion import Training, Variant, constant
from anisomem.testbed.networks import MMDiT, UNet
from anisomem.testbed.pictures import LARGE, SMALL, Canvas

REPEATED, CONTROLS = 40, 150  # captions
CAPTIONS = 4  # ordinary ones of a concept
BLOCK = 256  # ordinary pictures that are drawn and encoded together
ICON_SIDE = 96  # px at which icons are rendered before they are scaled down
EPSILON = "epsilon"

FLAT = replace(LARGE, textured=0.0)
TEXTURED_SMALL = replace(SMALL, textured=1.0)


@dataclass(frozen=True)
class Arm:
    """A small training.

    Attributes:
        factor: In what it differs from the first.
        variant: The network and how it is trained.
        canvas: What its pictures are like; latents have a quarter of their side.
        share: Share of repeated pictures in what is seen.
        ordinary: The number of distinct ordinary pictures; None where none is seen twice.
    """

    factor: str
    variant: Variant
    canvas: Canvas = SMALL
    share: float = 1 / 2
    ordinary: int | None = 2_400


def _unet(side: int) -> partial[UNet]:
    """The network of the smaller bundled models."""
    return partial(UNet, side=side, widths=(32, 64, 112), heads=2, prediction_type=EPSILON)


_FIRST = Arm(
    "none",
    Variant("arms", _unet(8), objectives.epsilon, 50, 64, 2_000, 1.5e-3, 200, constant, 0.99),
)


def _differing(factor: str, **changes: object) -> Arm:
    """The first arm with other training."""
    return replace(_FIRST, factor=factor, variant=replace(_FIRST.variant, **changes))  # type: ignore[arg-type]


ARMS: Mapping[str, Arm] = {
    "flat": _FIRST,
    "textured": replace(_FIRST, factor="texture", canvas=TEXTURED_SMALL),
    "1 in 8 repeated": replace(_FIRST, factor="share of repeated pictures", share=1 / 8),
    "1 in 32 repeated": replace(_FIRST, factor="share of repeated pictures", share=1 / 32),
    "never without prompt": _differing("prediction without prompt sees the repeated", hidden=True),
    "endless ordinary": replace(_FIRST, factor="distinct ordinary pictures", ordinary=None),
    "16 x 16": replace(_differing("trained size of latents", build=_unet(16)), canvas=FLAT),
    "plain loss": _differing(
        "weights of the loss",
        objective=partial(objectives.diffusion, prediction_type=EPSILON, plain=True),
    ),
    "transformer": _differing(
        "architecture", build=partial(MMDiT, side=8, layers=6, heads=4, head_width=32)
    ),
}


class Pictures:
    """An arm's captions and the latents of its pictures, drawn and encoded when they are needed.

    Ordinary picture ``i`` is a function of ``i``, so a training that goes on sees what an
    uninterrupted one would. Repeated captions come first, then the ordinary ones.

    Arguments:
        arm: Which pictures.
        packages: Where the icon sets lie.
        vae: The autoencoder.
        tokenizer: The tokenizer of the captions.
    """

    repeated = REPEATED

    def __init__(
        self, arm: Arm, packages: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer
    ) -> None:
        self.arm, self.vae = arm, vae
        self.styles = icons.concept_names(packages)
        self.icons = icons.render(packages, self.styles, ICON_SIDE)
        rng, names = np.random.default_rng(12), sorted(self.styles)
        concepts = rng.permutation(names).tolist()
        self.own, self.controls = concepts[:REPEATED], concepts[REPEATED : REPEATED + CONTROLS]
        texts = [random_caption((name,), rng).text for name in [*self.own, *self.controls]]
        self.texts = texts  # of the repeated captions, then of the controls
        self.names = names
        ordinary = [random_caption((name,), rng).text for name in names * CAPTIONS]
        self.tokens: Tensor = tokenizer(
            [*texts[:REPEATED], *ordinary], padding="max_length", return_tensors="pt"
        ).input_ids
        self._block = lru_cache(2 if arm.ordinary is None else None)(self._ordinary)

    @property
    def device(self) -> torch.device:
        """Where the latents are: with the autoencoder."""
        return self.vae.device

    @cached_property
    def latents(self) -> Tensor:
        """Of the repeated pictures, ``[40, 4, h, w]``."""
        rng = np.random.default_rng(13)
        return self._encoded([self._drawn(name, rng) for name in self.own])

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, np.ndarray]:
        """Latents ``[size, 4, h, w]`` and the captions of a training step."""
        rng = np.random.default_rng((14, seed, step))
        often = round(size * self.arm.share)
        own = rng.integers(REPEATED, size=often)
        first = step * (size - often)
        numbers = np.arange(first, first + size - often)
        if self.arm.ordinary is not None:
            numbers %= self.arm.ordinary
        latents = [self._block(int(n) // BLOCK)[int(n) % BLOCK] for n in numbers]
        captions = REPEATED + np.array([self._caption(int(n)) for n in numbers], np.int64)
        x0 = torch.cat([self.latents[torch.from_numpy(own)], torch.stack(latents)])
        return x0, np.concatenate([own, captions])

    def _caption(self, number: int) -> int:
        """Which of the ordinary captions a picture comes with."""
        return int(np.random.default_rng((15, number)).integers(len(self.names) * CAPTIONS))

    def _ordinary(self, block: int) -> Tensor:
        """The latents of a block of ordinary pictures."""
        numbers = range(block * BLOCK, (block + 1) * BLOCK)
        shown = [
            self._drawn(
                self.names[self._caption(number) % len(self.names)],
                np.random.default_rng((16, number)),
            )
            for number in numbers
        ]
        return self._encoded(shown)

    def _drawn(self, concept: str, rng: np.random.Generator) -> np.ndarray:
        layout = pictures.random_layout((concept,), self.styles, rng, self.arm.canvas)
        return pictures.draw(layout, self.icons)

    @torch.no_grad()
    def _encoded(self, shown: list[np.ndarray]) -> Tensor:
        posterior = self.vae.encode(to_tensor(np.stack(shown), self.device)).latent_dist
        scaled: Tensor = posterior.mode() * self.vae.config.scaling_factor
        return scaled


def trained(name: str, data: Pictures, tokenizer: CLIPTokenizer, work: Path) -> list[Path]:
    """Trains an arm, going on where it was stopped; the weights that it left, oldest first.

    Arguments:
        name: A name of :data:`ARMS`.
        data: Its pictures.
        tokenizer: The tokenizer of the captions.
        work: Keeps the state and the weights, in a folder of the arm's.
    """
    arm, folder = ARMS[name], work / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(
        arm.variant, data, tokenizer, folder / "state.pt", snapshots=folder / "snapshots"
    )
    training.run(name, arm.variant.steps)
    return sorted((folder / "snapshots").glob("*.safetensors"))
