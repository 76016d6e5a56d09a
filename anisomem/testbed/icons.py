"""Icons of the bundled model's training pictures, read from iconify npm packages.

A *concept* is an icon name that at least two of the three sets draw; each set is a *style*.
The icons are needed for training only and are not shipped (see NOTICE for their licences).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from anisomem.datasets.images import decoded

STYLES = ("noto", "fluent-emoji-flat", "twemoji")

# Names that vary the same drawing (skin tones), or that name no thing a picture shows (letters,
# digits, regional flags): a detector could not be judged on them.
_EXCLUDED = re.compile(r"skin|tone|light|medium|dark|^flag|keycap|letter|digit|\d|^regional")


def concept_names(packages: Path) -> dict[str, list[str]]:
    """Concepts with the styles that draw them, names of one to three words, sorted.

    Arguments:
        packages: The folder ``node_modules/@iconify-json`` with the three sets inside.
    """
    drawn = {s: json.loads((packages / s / "icons.json").read_text())["icons"] for s in STYLES}
    names = sorted(set().union(*drawn.values()))
    styles = {name: [s for s in STYLES if name in drawn[s]] for name in names}
    return {
        name.replace("-", " "): drawings
        for name, drawings in styles.items()
        if len(drawings) >= 2 and name.count("-") <= 2 and not _EXCLUDED.search(name)
    }


#: Single words that stand for no thing of a look of its own: people, signs, abstractions.
_NO_THING = re.compile(
    r"aquarius|aries|artist|astronaut|baby|badminton|beans|biohazard|boy|cancer|capricorn|"
    r"child|cinema|collision|construction|cook|cooking|copyright|customs|detective|divide|"
    r"dizzy|eyes|farmer|firefighter|foggy|footprints|gemini|girl|guard|hole|hospital|hotel|"
    r"infinity|information|joker|judge|khanda|label|leo|libra|locked|man|mechanic|memo|metro|"
    r"minus|motorway|multiply|om|ophiuchus|person|pilot|pisces|plus|prince|princess|prohibited|"
    r"radioactive|registered|restroom|rosette|sagittarius|scientist|scorpio|seat|selfie|singer|"
    r"skier|snowboarder|student|taurus|teacher|technologist|unlocked|virgo|warning|wedding|"
    r"wireless|woman|zzz"
)


def thing_names(packages: Path) -> dict[str, list[str]]:
    """The concepts that all sets draw and that are one word for a thing, 416 of them, sorted.

    Arguments:
        packages: The same as of :func:`concept_names`.
    """
    return {
        name: styles
        for name, styles in concept_names(packages).items()
        if len(styles) == len(STYLES) and " " not in name and not _NO_THING.fullmatch(name)
    }


def render(
    packages: Path, concepts: Mapping[str, list[str]], side: int
) -> dict[tuple[str, str], np.ndarray]:
    """Concepts in their styles as premultiplied RGBA, ``[side, side, 4]`` in [0, 1]."""
    import resvg_py

    sets = {s: json.loads((packages / s / "icons.json").read_text()) for s in STYLES}
    pictures = {}
    for concept, styles in tqdm(concepts.items(), desc="icons", unit="concept"):
        for style in styles:
            icons = sets[style]
            icon = icons["icons"][concept.replace(" ", "-")]
            width = icon.get("width", icons.get("width", 16))
            height = icon.get("height", icons.get("height", 16))
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" '
                'xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">'
                f"{icon['body']}</svg>"
            )
            png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side)
            rgba = np.asarray(decoded(bytes(png), concept, "RGBA"), np.float32) / 255
            rgba = rgba.copy()
            rgba[..., :3] *= rgba[..., 3:]
            pictures[concept, style] = rgba
    return pictures
