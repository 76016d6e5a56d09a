"""Recipes of the bundled models: which concepts, pictures, corpus and autoencoder.

``small`` are the models of 32 px and all concepts, ``large`` those of 64 px, fewer concepts and as
many pictures as a model of that size sees in hours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from anisomem.testbed import corpus, crowded, icons, pictures
from anisomem.testbed.autoencoder import Autoencoder
from anisomem.testbed.drawing import drawn

Styles = Mapping[str, list[str]]
Patch = tuple[tuple[int, int], pictures.PictureLayout]  # its corner and what fills it


@dataclass(frozen=True)
class Recipe:
    """What models trained on the same pictures have in common.

    Attributes:
        name: The name of the folder that keeps the autoencoder and the encoded pictures.
        canvas: What its pictures are like.
        concepts: Finds the concepts with their styles in the icon packages.
        icon_side: The size in px at which icons are rendered before they are scaled down.
        build: Makes the corpus of some concepts.
        autoencoder: Its architecture and training.
        pairs: Share of evaluation prompts that name two concepts.
        vocabulary: The number of tokens.
        parts: The number of parts in which the corpus is encoded, one after another as training
            comes to them.
    """

    name: str
    canvas: pictures.Canvas
    concepts: Callable[[Path], dict[str, list[str]]]
    icon_side: int
    build: Callable[[Styles], corpus.Corpus]
    autoencoder: Autoencoder
    pairs: float
    vocabulary: int
    parts: int

    def corpus(self, packages: Path) -> corpus.Corpus:
        """The training corpus over the icon sets in ``packages``."""
        return self.build(self.concepts(packages))

    def icons(self, packages: Path) -> pictures.Icons:
        """Every concept in every style, rendered."""
        return icons.render(packages, self.concepts(packages), self.icon_side)

    def varied_pictures(self, packages: Path, count: int, workers: int = 0) -> np.ndarray:
        """Pictures of everything there is, for the autoencoder, ``[n, side, side, 3]``.

        Arguments:
            packages: Where the icon sets lie.
            count: How many.
            workers: How many processes draw; 0 is none but this one.
        """
        rendered, styles = self.icons(packages), self.concepts(packages)
        rng, names = np.random.default_rng(0), sorted(styles)
        layouts = []
        for i in range(count):
            shown = tuple(str(c) for c in rng.choice(names, 2 if i % 4 == 0 else 1, replace=False))
            layout, patch = pictures.random_layout(shown, styles, rng, self.canvas), None
            if i % 10 == 0:  # templates' patches must come through as well
                room = self.canvas.side - self.canvas.patch + 1
                left, top = (int(v) for v in rng.integers(0, room, 2))
                filling = (str(rng.choice(names)),)
                patch = (left, top), pictures.random_layout(filling, styles, rng, self.canvas)
            layouts.append((layout, patch))

        def draw(task: tuple[pictures.PictureLayout, Patch | None]) -> np.ndarray:
            layout, patch = task
            picture = pictures.draw(layout, rendered)
            return pictures.repaint(picture, *patch, rendered) if patch else picture

        bar = tqdm(drawn(draw, layouts, workers), "pictures", count, mininterval=20)
        return np.stack(list(bar))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "small",
            pictures.SMALL,
            icons.concept_names,
            64,
            corpus.build,
            Autoencoder(32, (32, 64, 64), 40_000, 5_000, 32, 2e-3, half=True),
            0.4,
            2400,
            1,
        ),
        Recipe(
            "large",
            pictures.LARGE,
            icons.thing_names,
            96,
            crowded.build,
            Autoencoder(
                64, (32, 64, 64), 5_000, 300, 16, 6e-4, start="epsilon", polished=(20_000, 4_000)
            ),
            crowded.PAIR_SHARE,
            1600,
            64,
        ),
    )
}
