"""The stored gallery as a page shows it.

The pictures are generated in :mod:`anisomem.benchmark.gallery`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image

from anisomem.benchmark import gallery
from anisomem.benchmark.results import Results
from anisomem.datasets import images
from anisomem.errors import UserError
from anisomem.report import page

MAP_SIDE = 128
COLOURS = "cividis"  # perceptually uniform, and the same to colour-blind readers


@dataclass(frozen=True)
class Exhibit:
    """One prompt: texts, and pictures as PNG in base64.

    Attributes:
        text: The prompt's text.
        facts: What is known of it, for its caption.
        training: Its memorized training picture, if there is one.
        generated: What the model makes of it.
        cosine: The cosine map.
        mean_cosine: The map's mean, the metric's second component.
    """

    text: str
    facts: str
    training: str | None
    generated: list[str]
    cosine: str
    mean_cosine: float


@dataclass(frozen=True)
class Shown:
    """A case's gallery as the page shows it.

    Attributes:
        plan: How it was made, see :func:`anisomem.benchmark.gallery.plan`.
        groups: Heading to cards.
        low, high: The cosines at the ends of the colour scale.
        scale: The colour scale, a PNG in base64.
    """

    plan: Mapping[str, Any]
    groups: Mapping[str, list[Exhibit]]
    low: float
    high: float
    scale: str


def shown(results: Results) -> Shown | None:
    """The gallery of a case, None where it has none."""
    stored = gallery.read(results)
    if stored is None:
        return None
    rows = [list(results.prompts.ids).index(key) for key in stored.plan["prompts"]]
    low, high = float(stored.maps.min()), float(stored.maps.max())
    spread = max(high - low, 1e-12)
    facts = _facts(results)
    groups: dict[str, list[Exhibit]] = {
        "Memorized prompts, lowest scores first": [],
        "Other prompts, highest scores first": [],
    }
    missed, alarms = groups.values()
    for row, pictures, cosines in zip(rows, stored.pictures, stored.maps, strict=True):
        encoded = results.prompts.pictures[row] if results.prompts.pictures else None
        training = _training(encoded) if encoded else None
        damaged = " · training picture damaged" * (training is None and bool(encoded))
        card = Exhibit(
            results.prompts.texts[row],
            facts[row] + damaged,
            training,
            [page.picture(Image.fromarray(picture)) for picture in pictures],
            _map((cosines - low) / spread),
            float(cosines.mean()),
        )
        (missed if results.prompts.labels[row] else alarms).append(card)
    return Shown(stored.plan, groups, low, high, _map(np.linspace(0, 1, MAP_SIDE)[None]))


def _facts(results: Results) -> list[str]:
    """What is said of every prompt: score and rank, where it comes from, what was measured."""
    prompts = results.prompts
    detector = results.detectors.index(gallery.headline(results.detectors))
    scores = results.evaluated.scores[detector, 0]
    ranks = np.argsort(np.argsort(-scores, kind="stable"), kind="stable") + 1
    facts = []
    for i, (score, rank) in enumerate(zip(scores, ranks, strict=True)):
        parts = [f"score {score:.3f}, rank {rank} of {len(scores)}"]
        parts.append(f"{prompts.blocks[i]}, {prompts.kinds[i]}")
        if prompts.repetitions is not None and prompts.repetitions[i]:
            parts.append(f"repeated {prompts.repetitions[i]} times")
        if prompts.reproduction_rates is not None and np.isfinite(prompts.reproduction_rates[i]):
            parts.append(f"reproduced in {prompts.reproduction_rates[i]:.0%}")
        facts.append(" · ".join(parts))
    return facts


def _training(content: bytes) -> str | None:
    """A training picture; None where only its first bytes are one."""
    try:
        return page.picture(images.decoded(content, "training picture"))
    except UserError:
        return None


def _map(unit: npt.NDArray[np.float64]) -> str:
    """Numbers in [0, 1] as colours, every one a square of equal pixels."""
    pixels = (mpl.colormaps[COLOURS](unit)[..., :3] * 255).round().astype(np.uint8)
    factor = max(1, MAP_SIDE // max(unit.shape))
    return page.picture(Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1)))
