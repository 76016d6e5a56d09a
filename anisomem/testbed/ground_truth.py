"""Which prompts the bundled model really memorized: generate, compare, count.

Every evaluation prompt is sampled with 16 noise seeds at guidance 7.5 and 50 DDIM steps. A
generated picture *reproduces* a training picture where the two are closer than pictures of
different captions are, but for one pair in a thousand; the patch that varies in a template does
not count. The reproduction rate of a prompt is the share of its 16 pictures that do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from anisomem.models.base import Conditioning, DiffusionModel
from anisomem.testbed.corpus import Corpus, EvaluationPrompt
from anisomem.testbed.pictures import PATCH, SIZE, Icons, Layout

SEEDS = tuple(range(1000, 1016))  # disjoint from the seeds that detectors use
FALSE_MATCHES = 1e-3
MEMORIZED_RATE = 0.5

Pictures = npt.NDArray[np.uint8]


@torch.inference_mode()
def generate(model: DiffusionModel, prompts: Sequence[str], folder: Path) -> Pictures:
    """Sixteen pictures of every prompt, uint8 ``[N, 16, 32, 32, 3]``.

    Each prompt's pictures lie in a file of their own, so an interrupted run continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = torch.cat([model.initial_noise(seed, 1) for seed in SEEDS])
    missing = [i for i in range(len(prompts)) if not (folder / f"{i}.npy").exists()]
    for i in tqdm(missing, desc="generate", mininterval=30):
        prompt: Conditioning = model.encode([prompts[i]])[[0] * len(SEEDS)]
        pictures = model.decode(model.sample(noise, prompt))
        partial = folder / f"{i}.partial.npy"
        np.save(partial, pictures)
        partial.rename(folder / f"{i}.npy")
    return np.stack([np.load(folder / f"{i}.npy") for i in range(len(prompts))])


def mask(layout: Layout | None) -> npt.NDArray[np.float32]:
    """Weights ``[32, 32]`` of the pixels that count: all but a template's patch."""
    weights = np.ones((SIZE, SIZE), np.float32)
    if layout is not None and layout.patch is not None:
        left, top = layout.patch
        weights[top : top + PATCH, left : left + PATCH] = 0
    return weights


def distances(
    pictures: Pictures, references: Pictures, weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Root-mean-square difference over pixels and colours in [0, 1], ``[n, m]``.

    Arguments:
        pictures: ``[n, 32, 32, 3]``.
        references: ``[m, 32, 32, 3]``.
        weights: Of the pixels, ``[32, 32]``.
    """
    root = np.sqrt(weights / (3 * weights.sum()))[..., None]
    a = (pictures.astype(np.float32) / 255 * root).reshape(len(pictures), -1)
    b = (references.astype(np.float32) / 255 * root).reshape(len(references), -1)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))


@dataclass(frozen=True)
class References:
    """Training pictures by caption, with the captions each concept occurs in."""

    pictures: list[Pictures]
    weights: list[npt.NDArray[np.float32]]
    by_concept: dict[str, list[int]]

    @classmethod
    def draw(cls, corpus: Corpus, icons: Icons) -> "References":
        """All distinct training pictures; of a template one, since its patch does not count."""
        by_concept: dict[str, list[int]] = {}
        pictures, weights = [], []
        for i, entry in enumerate(corpus.entries):
            drawn = corpus.pictures(i, icons)
            pictures.append(np.stack(drawn[:1] if entry.layout else drawn))
            weights.append(mask(entry.layout))
            for concept in entry.caption.concepts:
                by_concept.setdefault(concept, []).append(i)
        return cls(pictures, weights, by_concept)

    def nearest(self, generated: Pictures, entry: int) -> npt.NDArray[np.float32]:
        """Distance of each picture to the nearest of one caption, ``[n]``."""
        return distances(generated, self.pictures[entry], self.weights[entry]).min(axis=1)

    def threshold(self, seed: int = 0, captions: int = 2000) -> float:
        """The distance that one in a thousand pairs of pictures of different captions undercuts.

        Pairs are drawn so that half of them share a concept, which makes them closer than two
        arbitrary captions' pictures are.
        """
        rng = np.random.default_rng(seed)
        found = []
        for entry in rng.choice(len(self.pictures), captions, replace=False):
            others = rng.choice(len(self.pictures), 20)
            kin = [k for c in self.by_concept.values() if entry in c for k in c]
            for other in (*others, *rng.choice(kin, 20)):
                if other != entry:
                    sample = rng.choice(self.pictures[entry])[None]
                    found.append(self.nearest(sample, int(other))[0])
        return float(np.quantile(found, FALSE_MATCHES))


def reproduction_rate(
    prompt: EvaluationPrompt, generated: Pictures, references: References, threshold: float
) -> float:
    """Share of generated pictures that reproduce a training picture.

    A repeated caption must give its own picture; any other prompt counts where it gives any
    training picture of its concepts.
    """
    if prompt.block == "repeated":
        assert prompt.source is not None
        entries = [prompt.source]
    else:
        entries = sorted({e for c in prompt.caption.concepts for e in references.by_concept[c]})
        if prompt.source is not None:
            entries.append(prompt.source)
    nearest = np.min([references.nearest(generated, e) for e in entries], axis=0)
    return float((nearest < threshold).mean())


def label(rate: float) -> str:
    """``memorized`` from half of the pictures on, ``not_memorized`` for none, else ``partial``."""
    if rate >= MEMORIZED_RATE:
        return "memorized"
    return "not_memorized" if rate == 0 else "partial"
