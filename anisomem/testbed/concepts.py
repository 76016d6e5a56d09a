"""A classifier of the bundled models' pictures: which concepts they show, on which background.

It tells whether a picture that a mitigation changed still shows what the prompt names. It was
trained on drawn pictures as the autoencoder renders them, in layouts of their own, and never saw a
generated one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from anisomem.errors import UserError
from anisomem.storage import atomic
from anisomem.testbed import checkpoint
from anisomem.testbed.autoencoder import to_tensor
from anisomem.testbed.drawing import drawn
from anisomem.testbed.ground_truth import Pictures, render
from anisomem.testbed.pictures import LARGE, SMALL, Icons, PictureLayout, draw, random_layout
from anisomem.testbed.recipe import Recipe
from anisomem.testbed.recorded import AdamW, Recorded

#: Where the bundled ones lie, by the side of the pictures that they judge, px.
FOLDERS = {
    canvas.side: Path(__file__).parent / name
    for canvas, name in ((SMALL, "concepts"), (LARGE, "concepts_large"))
}
TOGETHER = 64  # pictures drawn at a time
#: Backgrounds: less saturated ones are grey, others the nearest of these hues in degrees.
GREY = 0.25
HUES = {
    "red": 0,
    "orange": 30,
    "yellow": 60,
    "green": 120,
    "cyan": 180,
    "blue": 230,
    "purple": 275,
    "pink": 320,
}
COLOURS = (*HUES, "grey")


class Classifier(nn.Module):
    """A convolutional network with a head for concepts and one for colours.

    Arguments:
        concepts: How many.
        side: The side of the pictures, px; the layers see them at half of it where they are large.
    """

    def __init__(self, concepts: int, side: int = SMALL.side) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        widths = (3, 32, 64, 64, 128, 128, 192)
        strides = (side // SMALL.side, 2, 1, 2, 1, 2)
        for (a, b), stride in zip(pairwise(widths), strides, strict=True):
            layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.concepts = nn.Linear(widths[-1] * 2, concepts)
        self.colours = nn.Linear(widths[-1] * 2, len(COLOURS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of concepts ``[n, K]`` and of colours ``[n, 9]`` from ``[n, 3, side, side]``."""
        features = self.trunk(x).flatten(2)
        # The mean says what fills the picture, the maximum what stands somewhere in it.
        pooled = torch.cat([features.mean(2), features.amax(2)], 1)
        return self.concepts(pooled), self.colours(pooled)


@dataclass(frozen=True)
class Examples:
    """Pictures with what they show.

    Attributes:
        pictures: uint8 ``[n, side, side, 3]``.
        concepts: Indices, the second -1 where there is one, ``[n, 2]``.
        colours: Indices, ``[n]``.
    """

    pictures: Pictures
    concepts: npt.NDArray[np.int64]
    colours: npt.NDArray[np.int64]


def colour(layout: PictureLayout) -> int:
    """The index in :data:`COLOURS` of a layout's background."""
    import colorsys

    hue, saturation, _ = colorsys.rgb_to_hsv(*layout.background)
    if saturation < GREY:
        return len(HUES)
    away = [abs((360 * hue - degrees + 180) % 360 - 180) for degrees in HUES.values()]
    return int(np.argmin(away))


def examples(
    recipe: Recipe,
    styles: Mapping[str, list[str]],
    icons: Icons,
    vae: AutoencoderKL,
    count: int,
    seed: int,
    workers: int = 0,
) -> Examples:
    """Pictures of random concepts in random layouts, as the autoencoder renders them."""
    rng, names = np.random.default_rng((4, seed)), sorted(styles)
    layouts, concepts, colours = [], np.full((count, 2), -1), np.empty(count, np.int64)
    for i in range(count):
        shown = rng.choice(len(names), 1 + int(rng.uniform() < recipe.pairs), replace=False)
        layout = random_layout(tuple(names[c] for c in shown), styles, rng, recipe.canvas)
        layouts.append(layout)
        concepts[i, : len(shown)], colours[i] = shown, colour(layout)
    groups = [layouts[i : i + TOGETHER] for i in range(0, count, TOGETHER)]
    pictures = drawn(lambda some: np.stack([draw(x, icons) for x in some]), groups, workers)
    bar = tqdm(pictures, "pictures", len(groups), unit_scale=TOGETHER, mininterval=30)
    return Examples(render(vae, np.concatenate(list(bar))), concepts, colours)


def train(
    data: Examples,
    concepts: int,
    state_file: Path,
    steps: int,
    batch_size: int = 128,
    device: str = "cpu",
) -> Classifier:
    """Minimises the cross-entropies of concepts and colour; resumes from ``state_file``."""
    torch.manual_seed(0)
    model = Classifier(concepts, data.pictures.shape[1]).to(device)
    optimiser = AdamW(model.parameters(), weight_decay=0.02)
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser}
    begin = 0
    if state := checkpoint.load(state_file):
        begin = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def learn(x: Tensor, shown: Tensor, colours: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            logits, tints = model(x)
        # A picture of two concepts asks for half of the probability on each.
        log = logits.float().log_softmax(1)
        present = (shown >= 0).float()
        of_concepts = -(log.gather(1, shown.clamp(min=0)) * present).sum(1) / present.sum(1)
        loss = of_concepts.mean() + 0.2 * F.cross_entropy(tints.float(), colours)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss.detach()

    recorded = Recorded(learn)
    bar = tqdm(range(begin, steps), initial=begin, total=steps, desc="classifier", mininterval=20)
    for step in bar:
        rng = np.random.default_rng((5, step))
        rows = rng.integers(0, len(data.pictures), batch_size)
        x = to_tensor(data.pictures[rows], device)
        mirrored = torch.from_numpy(rng.uniform(size=batch_size) < 0.5).to(device)
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        warmth, done = min(1, (step + 1) / 200), min(1, step / steps)
        optimiser.rate.fill_(4e-3 * warmth * 0.5 * (1 + math.cos(math.pi * done)))
        shown, colours = (torch.from_numpy(v[rows]) for v in (data.concepts, data.colours))
        loss = recorded(x, shown.to(device), colours.to(device))
        if (step + 1) % 250 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
            checkpoint.save(
                state_file,
                {"step": step + 1} | {name: part.state_dict() for name, part in parts.items()},
            )
    return model.eval().cpu()


@dataclass(frozen=True)
class Recogniser:
    """A trained classifier with the names of its concepts.

    Arguments:
        model: The network itself.
        names: The concepts in the order of its outputs.
        accuracy: The accuracy on held-out pictures, see :func:`accuracy`.
    """

    model: Classifier
    names: Sequence[str]
    accuracy: Mapping[str, float]

    @classmethod
    def of(cls, pictures: Pictures) -> Recogniser:
        """The bundled one for pictures ``[n, side, side, 3]``.

        Raises:
            UserError: Pictures of another side than the bundled models'.
        """
        if (side := pictures.shape[1]) not in FOLDERS:
            sides = " or ".join(map(str, FOLDERS))
            raise UserError(
                f"the bundled classifiers judge pictures of {sides} pixels a side, as the bundled"
                f" models draw, and these have {side}; leave out the measures that ask them"
            )
        return _loaded(side)

    @classmethod
    def load(cls, folder: Path) -> Recogniser:
        """The one that :meth:`save` has written."""
        described = json.loads((folder / "config.json").read_text())
        model = Classifier(len(described["concepts"]), described.get("side", SMALL.side))
        weights = load_file(folder / "model.safetensors")
        model.load_state_dict({name: value.float() for name, value in weights.items()})
        return cls(model.eval(), described["concepts"], described["accuracy"])

    def save(self, folder: Path) -> None:
        """Writes the weights in float16, the concepts and the accuracy."""
        weights = {
            name: value.half().contiguous() if value.is_floating_point() else value
            for name, value in self.model.state_dict().items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors")
        content = {
            "side": self.model.side,
            "concepts": list(self.names),
            "accuracy": dict(self.accuracy),
        }
        atomic.write_text(folder / "config.json", json.dumps(content, indent=1) + "\n")

    @torch.inference_mode()
    def ranks(self, pictures: Pictures, concepts: Sequence[str]) -> npt.NDArray[np.int64]:
        """How many other concepts are taken for likelier than each of some, ``[n, k]``.

        Those that are asked about do not count as others.

        Arguments:
            pictures: uint8 ``[n, side, side, 3]``, of the side that it was trained on.
            concepts: k names.
        """
        logits, _ = self.model(to_tensor(pictures))
        asked = [self.names.index(name) for name in concepts]
        others = logits.clone()
        others[:, asked] = -torch.inf
        ranks: npt.NDArray[np.int64] = (others[:, None] > logits[:, asked, None]).sum(2).numpy()
        return ranks

    @torch.inference_mode()
    def colours(self, pictures: Pictures) -> npt.NDArray[np.int64]:
        """The background's likeliest colour, indices in :data:`COLOURS`, ``[n]``; as ranks."""
        colours: npt.NDArray[np.int64] = self.model(to_tensor(pictures))[1].argmax(1).numpy()
        return colours


@cache
def _loaded(side: int) -> Recogniser:
    return Recogniser.load(FOLDERS[side])


def accuracy(recogniser: Recogniser, data: Examples) -> dict[str, float]:
    """Shares of held-out pictures: every concept ranked first, among the first five, colour right.

    Arguments:
        recogniser: A recogniser with any accuracy.
        data: Pictures that it was not trained on.
    """
    first, five = [], []
    for picture, shown in zip(data.pictures, data.concepts, strict=True):
        ranks = recogniser.ranks(picture[None], [recogniser.names[c] for c in shown if c >= 0])
        first.append((ranks < 1).all())
        five.append((ranks < 5).all())
    right = recogniser.colours(data.pictures) == data.colours
    return {
        "every concept ranked first": round(float(np.mean(first)), 4),
        "every concept among the first five": round(float(np.mean(five)), 4),
        "colour": round(float(right.mean()), 4),
    }
