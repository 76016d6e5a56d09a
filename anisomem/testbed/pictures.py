"""Pictures of the bundled model: icons on a plain background, 32 x 32 px.

A picture is described by a :class:`Layout`; drawing one is deterministic, so a layout is also the
picture's identity. What a layout fixes (style, background, size, position, flip) an ordinary
caption leaves open and a memorized one freezes.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIZE = 32  # px, width and height of a picture
PATCH = 12  # px, side of the square that varies in a template

Icons = Mapping[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Placement:
    """One icon in a picture: which drawing, its side in px, its corner in px, mirrored or not."""

    concept: str
    style: str
    side: int
    left: int
    top: int
    flip: bool


@dataclass(frozen=True)
class Layout:
    """A whole picture: background as RGB in [0, 1], then the icons from back to front.

    ``patch`` is the corner of the square a template repaints, or ``None``.
    """

    background: tuple[float, float, float]
    icons: tuple[Placement, ...]
    patch: tuple[int, int] | None = None


def random_background(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour whose hue, saturation and value vary freely."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.1, 0.95), rng.uniform(0.35, 1.0))


def random_layout(
    concepts: tuple[str, ...], styles: Mapping[str, list[str]], rng: np.random.Generator
) -> Layout:
    """A picture of one or two concepts with everything else drawn at random."""
    if len(concepts) == 1:
        side = int(rng.integers(18, 29))
        corners = [tuple(int(v) for v in rng.integers(0, SIZE - side + 1, 2))]
        sides = [side]
    else:
        # Two icons share the picture left and right or top and bottom, in either order.
        sides = [int(v) for v in rng.integers(13, 17, 2)]
        halves = rng.permutation([0, SIZE // 2])
        within = [int(rng.integers(0, SIZE // 2 - s + 1)) for s in sides]
        along = [int(half) + w for half, w in zip(halves, within, strict=True)]
        across = [int(rng.integers(0, SIZE - s + 1)) for s in sides]
        axes = (across, along) if rng.integers(2) else (along, across)
        corners = list(zip(*axes, strict=True))
    return Layout(
        random_background(rng),
        tuple(
            Placement(c, str(rng.choice(styles[c])), s, left, top, bool(rng.integers(2)))
            for c, s, (left, top) in zip(concepts, sides, corners, strict=True)
        ),
    )


def draw(layout: Layout, icons: Icons) -> np.ndarray:
    """The picture, uint8 ``[32, 32, 3]``."""
    canvas = np.empty((SIZE, SIZE, 3), np.float32)
    canvas[:] = layout.background
    for placement in layout.icons:
        _paste(canvas, placement, icons)
    return np.round(canvas * 255).astype(np.uint8)


def repaint(
    picture: np.ndarray, corner: tuple[int, int], filling: Layout, icons: Icons
) -> np.ndarray:
    """The picture with the patch at ``corner`` (left, top) showing ``filling``'s single icon."""
    left, top = corner
    canvas = picture.astype(np.float32) / 255
    patch = np.empty((PATCH, PATCH, 3), np.float32)
    patch[:] = filling.background
    icon = filling.icons[0]
    _paste(patch, Placement(icon.concept, icon.style, PATCH - 2, 1, 1, icon.flip), icons)
    canvas[top : top + PATCH, left : left + PATCH] = patch
    return np.round(canvas * 255).astype(np.uint8)


def _paste(canvas: np.ndarray, placement: Placement, icons: Icons) -> None:
    """Alpha-composites one icon in place; premultiplied colours resample without fringes."""
    source = (icons[placement.concept, placement.style] * 255).round().astype(np.uint8)
    image = Image.fromarray(source, "RGBa").resize((placement.side,) * 2, Image.Resampling.BOX)
    rgba = np.asarray(image, np.float32) / 255
    if placement.flip:
        rgba = rgba[:, ::-1]
    rows = slice(placement.top, placement.top + placement.side)
    columns = slice(placement.left, placement.left + placement.side)
    canvas[rows, columns] = canvas[rows, columns] * (1 - rgba[..., 3:]) + rgba[..., :3]
