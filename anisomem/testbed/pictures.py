"""Pictures of the bundled models: icons on a plain or a textured background.

A picture is described by a :class:`PictureLayout`; drawing one is deterministic, so a layout is
also the picture's identity. What a layout fixes (style, background, texture, size, position,
flip) an ordinary caption leaves open and a memorized one freezes.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from anisomem.testbed.textures import Texture, background, cover, random_texture

Icons = Mapping[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Canvas:
    """What the pictures of a bundled model have in common; lengths in px.

    Attributes:
        side: The side of a picture.
        patch: Side of the square that varies in a template.
        lone: Sides of an icon alone in its picture, from the smallest to below the last.
        shared: Sides of each of two icons.
        textured: Share of pictures that are textured; the others are flat.
    """

    side: int
    patch: int
    lone: tuple[int, int]
    shared: tuple[int, int]
    textured: float = 0.0


SMALL = Canvas(32, 12, (18, 29), (13, 17))
LARGE = Canvas(64, 24, (42, 57), (27, 33), 2 / 3)


def canvas_of(pictures: np.ndarray) -> Canvas:
    """The one that pictures ``[..., side, side, 3]`` of a bundled model have.

    Raises:
        ValueError: No bundled model has pictures of that size.
    """
    side = pictures.shape[-2]
    for canvas in (SMALL, LARGE):
        if canvas.side == side:
            return canvas
    raise ValueError(f"no bundled model has pictures of {side} px")


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
class PictureLayout:
    """A whole picture: background as RGB in [0, 1], then the icons from back to front.

    ``patch`` is the corner of the square a template repaints, or ``None``; ``texture`` is ``None``
    in a flat picture.
    """

    background: tuple[float, float, float]
    icons: tuple[Placement, ...]
    patch: tuple[int, int] | None = None
    canvas: Canvas = SMALL
    texture: Texture | None = None


def random_background(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour whose hue, saturation and value vary freely."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.1, 0.95), rng.uniform(0.35, 1.0))


def random_layout(
    concepts: tuple[str, ...],
    styles: Mapping[str, list[str]],
    rng: np.random.Generator,
    canvas: Canvas = SMALL,
) -> PictureLayout:
    """A picture of one or two concepts with everything else drawn at random."""
    size = canvas.side
    if len(concepts) == 1:
        side = int(rng.integers(*canvas.lone))
        corners = [tuple(int(v) for v in rng.integers(0, size - side + 1, 2))]
        sides = [side]
    else:
        # Two icons share the picture left and right or top and bottom, in either order.
        sides = [int(v) for v in rng.integers(*canvas.shared, 2)]
        halves = rng.permutation([0, size // 2])
        within = [int(rng.integers(0, size // 2 - s + 1)) for s in sides]
        along = [int(half) + w for half, w in zip(halves, within, strict=True)]
        across = [int(rng.integers(0, size - s + 1)) for s in sides]
        axes = (across, along) if rng.integers(2) else (along, across)
        corners = list(zip(*axes, strict=True))
    layout = PictureLayout(
        random_background(rng),
        tuple(
            Placement(c, str(rng.choice(styles[c])), s, left, top, bool(rng.integers(2)))
            for c, s, (left, top) in zip(concepts, sides, corners, strict=True)
        ),
        canvas=canvas,
    )
    if canvas.textured and rng.uniform() < canvas.textured:
        return replace(layout, texture=random_texture(random_background(rng), rng))
    return layout


def draw(layout: PictureLayout, icons: Icons) -> np.ndarray:
    """The picture, uint8 ``[side, side, 3]``."""
    side = layout.canvas.side
    canvas = np.empty((side, side, 3), np.float32)
    canvas[:] = layout.background
    if layout.texture:
        canvas[:] = background(layout.texture, layout.background, side)
    for placement in layout.icons:
        _paste(canvas, placement, icons)
    if layout.texture:
        cover(canvas, layout.texture)
    return np.round(canvas * 255).astype(np.uint8)


def repaint(
    picture: np.ndarray, corner: tuple[int, int], filling: PictureLayout, icons: Icons
) -> np.ndarray:
    """The picture with the patch at ``corner`` (left, top) showing ``filling``'s single icon."""
    (left, top), side = corner, filling.canvas.patch
    canvas = picture.astype(np.float32) / 255
    patch = np.empty((side, side, 3), np.float32)
    patch[:] = filling.background
    icon = filling.icons[0]
    _paste(patch, Placement(icon.concept, icon.style, side - 2, 1, 1, icon.flip), icons)
    canvas[top : top + side, left : left + side] = patch
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
