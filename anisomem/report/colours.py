"""One colour for each detector of a report, in all its figures the same.

They are the palette of ``style`` first, then as far from each other as can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_hex, to_rgb

from anisomem.benchmark.results import Results
from anisomem.report.style import COLOURS

Colours = Mapping[str, str]  # by the name of what has it

LEVELS = 24  # of each of red, green and blue that are tried
LIGHTNESS = (28.0, 74.0)  # dark enough to be seen on white, light enough to be no black
CHROMA = (28.0, 74.0)  # less is taken for a grey, which is for company, and more glares
#: From CIE XYZ, relative to the white of D65, of linear sRGB.
XYZ = np.array(
    [
        [0.43395, 0.37620, 0.18985],
        [0.21264, 0.71517, 0.07219],
        [0.01776, 0.10947, 0.87277],
    ]
)


def colours_of(all_results: Iterable[Results]) -> Colours:
    """The colours of all detectors of some cases, in the order in which they are scored."""
    return colours(detector.name for results in all_results for detector in results.detectors)


def colours(names: Iterable[str]) -> Colours:
    """A colour for each name; no two are equal, and equal names in equal order have equal ones."""
    every = list(dict.fromkeys(names))
    return dict(zip(every, distinct(len(every)), strict=True))


@cache
def distinct(count: int) -> Sequence[str]:
    """So many colours, each the farthest in CIELAB from all before it and from what is neutral."""
    first = [to_hex(colour) for colour in COLOURS[:-1]][:count]
    steps = np.linspace(0, 1, LEVELS)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(rgb)
    fit = (LIGHTNESS[0] <= lab[:, 0]) & (lab[:, 0] <= LIGHTNESS[1])
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    fit &= (CHROMA[0] <= chroma) & (chroma <= CHROMA[1])
    rgb, lab = rgb[fit], lab[fit]
    taken = _lab(np.array([to_rgb(colour) for colour in (*first, "white", "0.6")]))
    nearest = np.min([np.linalg.norm(lab - one, axis=1) for one in taken], axis=0)
    found = list(first)
    while len(found) < count:
        best = int(nearest.argmax())
        found.append(to_hex(rgb[best]))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=1))
    return found


def _lab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIELAB under D65 of sRGB from 0 to 1, ``[N, 3]`` both."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ XYZ.T
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
