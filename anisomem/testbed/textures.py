"""Surfaces of the textured pictures: grain, cloud, weave, leaves, stones, wood.

Photographs have fine structure everywhere, flat drawings have none. A textured picture has it on
its background, and one grain and one light on everything it shows. All are drawn anew from a seed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Texture:
    """What covers a picture.

    Attributes:
        kind: One of :data:`KINDS`.
        second: The colour it mixes into the background's, RGB in [0, 1].
        contrast: How far, 0 is plain.
        grain: Standard deviation of the grain on everything, colours in [0, 1].
        seed: The seed of what else is random about it.
    """

    kind: str
    second: tuple[float, float, float]
    contrast: float
    grain: float
    seed: int


def random_texture(second: tuple[float, float, float], rng: np.random.Generator) -> Texture:
    """A texture with everything but its colour at random."""
    kind = str(rng.choice(sorted(KINDS)))
    contrast, grain = rng.uniform(0.3, 0.9), rng.uniform(0.02, 0.07)
    return Texture(kind, second, float(contrast), float(grain), int(rng.integers(2**31)))


def noise(side: int, slope: float, rng: np.random.Generator) -> Field:
    """Gaussian noise ``[side, side]`` whose power falls as frequency ** -slope, unit variance."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # no mean
    shaped = np.fft.irfft2(spectrum * frequency ** (-slope / 2), (side, side))
    return (shaped / shaped.std()).astype(np.float32)


def background(
    texture: Texture, colour: tuple[float, float, float], side: int
) -> npt.NDArray[np.float32]:
    """The textured background, ``[side, side, 3]``, before grain and light.

    Arguments:
        texture: What it is made of.
        colour: The picture's main colour.
        side: The side of the picture, px.
    """
    rng = np.random.default_rng((6, texture.seed))
    share = texture.contrast * np.clip(KINDS[texture.kind](side, rng), 0, 1)[..., None]
    first, second = (np.array(c, np.float32) for c in (colour, texture.second))
    canvas: Field = (1 - share) * first + share * second
    return canvas


def cover(canvas: Field, texture: Texture) -> None:
    """Lays grain and a slanting light over the whole picture ``[side, side, 3]``, in place."""
    rng, side = np.random.default_rng((7, texture.seed)), len(canvas)
    light = 1 + rng.uniform(0.05, 0.25) * _slant(side, rng)
    common = noise(side, rng.uniform(0.8, 2), rng)
    canvas *= light[..., None]
    # Most of a photograph's grain is luminance; each colour has a little of its own.
    own = rng.standard_normal((side, side, 3), np.float32)
    canvas += texture.grain * (common[..., None] + 0.3 * own)
    np.clip(canvas, 0, 1, out=canvas)


def _slant(side: int, rng: np.random.Generator) -> Field:
    """A ramp from -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    at = np.linspace(-1, 1, side, dtype=np.float32)
    ramp: Field = np.cos(angle) * at[None] + np.sin(angle) * at[:, None]
    return ramp / np.abs(ramp).max()


def _coordinates(side: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Horizontal and vertical px, turned by a random angle."""
    angle = rng.uniform(0, np.pi)
    at = np.arange(side, dtype=np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * at[None] + s * at[:, None], c * at[:, None] - s * at[None]


def _grain(side: int, rng: np.random.Generator) -> Field:
    """Noise without scale, from fine to blotchy."""
    return 0.5 + 0.35 * noise(side, rng.uniform(1, 2), rng)


def _cloud(side: int, rng: np.random.Generator) -> Field:
    """A gradient from one side to the other, with soft clouds."""
    return 0.5 + 0.4 * _slant(side, rng) + 0.2 * noise(side, rng.uniform(1.8, 2.8), rng)


def _weave(side: int, rng: np.random.Generator) -> Field:
    """Two systems of threads of uneven brightness that pass over and under each other."""
    x, y = _coordinates(side, rng)
    period = rng.uniform(4, 14)
    u, v = x / period, y / period
    over = np.sin(np.pi * u) * np.sin(np.pi * v) > 0
    threads = rng.normal(0, 0.25, (2, 2 * side)).astype(np.float32)
    warp = np.abs(np.sin(np.pi * u)) + threads[0, np.floor(u).astype(int) % (2 * side)]
    weft = np.abs(np.sin(np.pi * v)) + threads[1, np.floor(v).astype(int) % (2 * side)]
    woven: Field = np.where(over, warp, 0.75 * weft)
    return woven + 0.08 * noise(side, 0.5, rng)


def _leaves(side: int, rng: np.random.Generator) -> Field:
    """Opaque ellipses of all sizes, each over the ones before (the dead leaves model)."""
    count, at = 40, np.arange(side, dtype=np.float32)
    # Sizes fall as a power law, as of things in photographs.
    size = np.minimum(side / 20 * rng.uniform(0.02, 1, count) ** -0.5, side / 4)
    size = -np.sort(-size).astype(np.float32)  # large ones first, or they cover all
    x, y = rng.uniform(0, side, (2, count)).astype(np.float32)
    angle, stretch = rng.uniform(0, np.pi, count), rng.uniform(1.2, 2.5, count)
    c, s = (f(angle).astype(np.float32) for f in (np.cos, np.sin))
    dx, dy = at[None, None] - x[:, None, None], at[None, :, None] - y[:, None, None]
    along = (c[:, None, None] * dx + s[:, None, None] * dy) / (size * stretch)[:, None, None]
    across = (c[:, None, None] * dy - s[:, None, None] * dx) / (size / stretch)[:, None, None]
    inside = along**2 + across**2 < 1
    top = count - 1 - inside[::-1].argmax(0)
    shade = rng.uniform(0, 1, count).astype(np.float32)
    return np.where(inside.any(0), shade[top], np.float32(0.3))


def _stones(side: int, rng: np.random.Generator) -> Field:
    """Cells around random points, each of its own shade, dark in the joints (Worley's noise)."""
    count, at = int(rng.integers(20, 60)), np.arange(side, dtype=np.float32)
    x, y = rng.uniform(0, side, (2, count)).astype(np.float32)
    away = (at[None, None] - x[:, None, None]) ** 2 + (at[None, :, None] - y[:, None, None]) ** 2
    near = np.partition(away, 1, axis=0)[:2]
    joint = np.sqrt(near[1]) - np.sqrt(near[0])
    shade = rng.uniform(0.2, 1, count).astype(np.float32)[away.argmin(0)]
    cells: Field = shade * np.clip(joint / 1.5, 0.1, 1)
    return cells + 0.06 * noise(side, 1.0, rng)


def _wood(side: int, rng: np.random.Generator) -> Field:
    """Stripes that a slow noise bends, as the rings of wood or the veins of marble."""
    x, y = _coordinates(side, rng)
    bent = x / rng.uniform(4, 12) + rng.uniform(0.3, 1.5) * noise(side, 3, rng) + 0.02 * y
    return (0.5 + 0.45 * np.sin(2 * np.pi * bent) + 0.1 * noise(side, 0.8, rng)).astype(np.float32)


KINDS: dict[str, Callable[[int, np.random.Generator], Field]] = {
    "grain": _grain,
    "cloud": _cloud,
    "weave": _weave,
    "leaves": _leaves,
    "stones": _stones,
    "wood": _wood,
}
