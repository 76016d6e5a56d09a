"""Which prompts the bundled model really memorized: generate, compare, count.

Every evaluation prompt is sampled with 16 noise seeds at guidance 7.5, in 50 DDIM steps or the
28 of a flow. A
generated picture *reproduces* a training picture where it is closer to

- the one picture of the repeated caption that the prompt is, or was derived from, than one in two
  thousand training pictures of other captions with a concept in common are, or
- any training picture of the prompt's concepts, or any repeated one at all, than one in two
  thousand training pictures are to the nearest one of another caption with a concept in common.

The second threshold is far smaller: the nearest of hundreds is closer than a given one. So at most
one in a thousand pictures matches by chance; pictures that have no concept in common match more
rarely still. Training pictures are compared as the autoencoder
renders them, since the denoiser saw nothing finer; the patch that varies in a template does not
count. The reproduction rate of a prompt is the share of its 16 pictures that reproduce one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

from anisomem.models.base import DiffusionModel
from anisomem.storage import atomic, digests
from anisomem.testbed.autoencoder import to_tensor
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, EvaluationPrompt
from anisomem.testbed.latents import Encoded
from anisomem.testbed.pictures import canvas_of
from anisomem.testbed.thresholds import Thresholds

SEEDS = tuple(range(1000, 1016))  # disjoint from the seeds that detectors use
FALSE_MATCHES = 5e-4  # by each of the two thresholds
MEMORIZED_RATE = 0.5

Pictures = npt.NDArray[np.uint8]


def made_by(folder: Path) -> str:
    """Ten digits of the weights below a folder, to name what they made and others would not."""
    files = sorted(folder.rglob("*.safetensors"))
    shas = {str(file.relative_to(folder)): digests.sha256_of_file(file) for file in files}
    return digests.digest(shas)[:10]


@torch.inference_mode()
def generate(
    model: DiffusionModel,
    prompts: Sequence[str],
    folder: Path,
    at_once: int = 4,
    num_steps: int = 50,
) -> Pictures:
    """Sixteen pictures of every prompt, uint8 ``[N, 16, side, side, 3]``.

    Every few prompts' pictures lie in a file of their own, so an interrupted run continues.

    Arguments:
        model: Draws them.
        prompts: What it is asked for.
        folder: Keeps the files.
        at_once: How many prompts a file holds.
        num_steps: Steps of a trajectory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = torch.cat([model.initial_noise(seed, 1) for seed in SEEDS]).to(model.device)
    files = [folder / f"{i}.npy" for i in range(0, len(prompts), at_once)]
    for i, file in enumerate(tqdm(files, desc="generate", mininterval=30)):
        if file.exists():
            continue
        batch = prompts[i * at_once : (i + 1) * at_once]
        rows = torch.arange(len(batch)).repeat_interleave(len(SEEDS))
        start = noise.repeat(len(batch), 1, 1, 1)
        latents = model.sample(start, model.encode(batch)[rows], num_steps)
        decoded = model.decode(latents)
        pictures = decoded.reshape(len(batch), len(SEEDS), *decoded.shape[1:])
        atomic.write(file, partial(np.save, arr=pictures))
    return np.concatenate([np.load(file) for file in files])


def mask(pictures: Pictures, patch: Sequence[int] | None) -> npt.NDArray[np.float32]:
    """Weights ``[side, side]`` of the pixels that count: all but a template's patch.

    Arguments:
        pictures: The pictures of the model, ``[..., side, side, 3]``.
        patch: Its corner, left and top.
    """
    canvas = canvas_of(pictures)
    weights = np.ones((canvas.side, canvas.side), np.float32)
    if patch is not None:
        left, top = patch
        weights[top : top + canvas.patch, left : left + canvas.patch] = 0
    return weights


@torch.inference_mode()
def distances(
    pictures: Pictures,
    references: Pictures,
    weights: npt.NDArray[np.float32],
    device: torch.device | str = "cpu",
) -> npt.NDArray[np.float32]:
    r"""Root-mean-square difference over pixels and colours in [0, 1], ``[n, m]``.

    :math:`\sqrt{\sum_p w_p \|a_p - b_p\|^2 / (3 \sum_p w_p)}` over pixels p.

    Arguments:
        pictures: ``[n, side, side, 3]``.
        references: ``[m, side, side, 3]``.
        weights: The weights of the pixels, ``[side, side]``, or of each reference's own,
            ``[m, side, side]``.
        device: Where it is computed.
    """

    def flat(values: np.ndarray) -> torch.Tensor:
        return (
            torch.from_numpy(np.require(values, requirements="W")).to(device).double().flatten(1)
        )

    share = weights / (3 * weights.sum((-2, -1), keepdims=True))
    a, b = flat(pictures) / 255, flat(references) / 255
    w = flat(share.reshape(-1, share.shape[-2] * share.shape[-1]))
    w = w.repeat_interleave(3, dim=1)
    # In double precision: of two pictures that are nearly the same, next to nothing is left here.
    squared = a.square() @ w.T - 2 * a @ (w * b).T + (w * b.square()).sum(1)
    return squared.clamp(min=0).sqrt().float().cpu().numpy()


@dataclass(frozen=True)
class References:
    """The distinct training pictures of captions, with the captions of every concept.

    Arguments:
        corpus: The training corpus.
        pictures: The pictures of every entry, ``[m, side, side, 3]``; of a template one, none of
            an entry that is not searched.
        by_concept: Entries whose caption names a concept.
        device: Where pictures are compared.
    """

    corpus: Corpus
    pictures: Sequence[Pictures]
    by_concept: Mapping[str, Sequence[int]]
    device: torch.device | str = "cpu"

    @classmethod
    def decode(
        cls, encoded: Encoded, vae: AutoencoderKL, folder: Path, parts: int | None = None
    ) -> "References":
        """Passes encoded training pictures through the decoder.

        Arguments:
            encoded: The training corpus.
            vae: The released autoencoder.
            folder: Keeps the pictures, so that an interrupted run continues.
            parts: Of the parts of ordinary captions, how many are searched beside the repeated
                captions and those of the evaluation prompts; None is all.
        """
        corpus = encoded.corpus
        pictures: dict[int, Pictures] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for name in list(encoded.files)[: None if parts is None else 1 + parts]:
            file, stored = folder / f"{name}.npy", encoded.file(name)
            captions, first = np.unique(stored["examples"][:, 0].numpy(), return_index=True)
            begins = stored["examples"].numpy()[first, 1]
            ends = np.append(begins[1:], len(stored["moments"]))
            if not file.exists():
                means = stored["moments"].chunk(2, dim=1)[0]
                atomic.write(file, partial(np.save, arr=_decoded(vae, means)))
            decoded = np.load(file, mmap_mode="r")
            for caption, begin, end in zip(captions.tolist(), begins, ends, strict=True):
                one = corpus.entries[caption].layout is not None  # of a template any will do
                pictures[caption] = decoded[begin : begin + 1 if one else end]
        pictures |= _evaluated(encoded, vae, folder, pictures)
        by_concept: dict[str, list[int]] = {}
        for i in sorted(pictures):
            for concept in corpus.entries[i].caption.concepts:
                by_concept.setdefault(concept, []).append(i)
        none = np.empty((0, *next(iter(pictures.values())).shape[1:]), np.uint8)
        ordered = [pictures.get(i, none) for i in range(len(corpus.entries))]
        return cls(corpus, ordered, by_concept, vae.device)

    @property
    def repeated(self) -> list[int]:
        """The repeated captions."""
        return [i for i, e in enumerate(self.corpus.entries) if e.layout is not None]

    def of_concepts(self, caption: Caption) -> list[int]:
        """The training captions that share a concept with a caption."""
        return sorted({entry for c in caption.concepts for entry in self.by_concept[c]})

    def nearest(self, pictures: Pictures, entries: Iterable[int]) -> npt.NDArray[np.float32]:
        """Distance of each picture to the nearest training picture of some captions, ``[n]``."""
        searched = list(entries)
        templates = [i for i in searched if self.corpus.entries[i].patch is not None]
        plain = [i for i in searched if self.corpus.entries[i].patch is None]
        away = []
        if plain:
            shown = np.concatenate([self.pictures[i] for i in plain])
            away.append(distances(pictures, shown, mask(pictures, None), self.device))
        if templates:
            shown = np.concatenate([self.pictures[i] for i in templates])
            masks = [mask(pictures, self.corpus.entries[i].patch) for i in templates]
            away.append(distances(pictures, shown, np.stack(masks), self.device))
        return np.concatenate(away, axis=1).min(axis=1)

    def thresholds(self, seed: int = 0, captions: int = 3000) -> Thresholds:
        """The distances that :data:`FALSE_MATCHES` of the training pictures undercut by chance.

        Arguments:
            seed: Chooses the captions whose pictures are compared with the nearest.
            captions: How many.
        """
        entries, repeated = self.corpus.entries, self.repeated
        varied = [i for i, e in enumerate(entries) if e.layout is None and len(self.pictures[i])]
        single = []
        for i in repeated:
            if not (kin := [self.pictures[k] for k in self._kin(i)]):
                continue
            weights = mask(self.pictures[i], entries[i].patch)
            away = distances(np.concatenate(kin), self.pictures[i], weights, self.device)
            single.append(away[:, 0])
        chosen = np.random.default_rng(seed).choice(varied, captions, replace=False)
        nearest = [self.nearest(self.pictures[i], self._kin(i)) for i in chosen]
        return Thresholds(
            float(np.quantile(np.concatenate(single), FALSE_MATCHES)),
            float(np.quantile(np.concatenate(nearest), FALSE_MATCHES)),
        )

    def _kin(self, entry: int) -> list[int]:
        """The other training captions that share a concept with one."""
        return [i for i in self.of_concepts(self.corpus.entries[entry].caption) if i != entry]


def _evaluated(
    encoded: Encoded, vae: AutoencoderKL, folder: Path, known: Collection[int]
) -> dict[int, Pictures]:
    """The pictures of the captions of evaluation prompts that are not known, drawn anew."""
    corpus, asked = encoded.corpus, {prompt.caption.text for prompt in encoded.corpus.prompts}
    missing = [
        i for i, e in enumerate(corpus.entries) if e.caption.text in asked and i not in known
    ]
    icons, found = encoded.icons(), {}
    for i in tqdm(missing, desc="captions of evaluation prompts", mininterval=30):
        file = folder / f"caption-{i}.npy"
        if not file.exists():
            rendered = render(vae, np.stack(corpus.pictures(i, icons)))
            atomic.write(file, partial(np.save, arr=rendered))
        found[i] = np.load(file, mmap_mode="r")
    return found


@torch.inference_mode()
def render(vae: AutoencoderKL, pictures: Pictures) -> Pictures:
    """Pictures as the autoencoder renders them, uint8 ``[n, side, side, 3]``."""
    batches = torch.split(to_tensor(pictures), 256)
    means = [vae.encode(batch.to(vae.device)).latent_dist.mean for batch in batches]
    return _decoded(vae, torch.cat(means))


@torch.inference_mode()
def _decoded(vae: AutoencoderKL, latents: torch.Tensor) -> Pictures:
    """Pictures of unscaled latents ``[n, 4, h, w]``."""
    decoded = []
    batches = torch.split(latents, 256)
    for batch in tqdm(batches, "autoencoder", mininterval=30, disable=len(batches) == 1):
        images = vae.decode(batch.to(vae.device, vae.dtype)).sample.float()
        unit = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        decoded.append((unit * 255).round().to(torch.uint8).cpu().numpy())
    return np.concatenate(decoded)


def reproduction_rate(
    prompt: EvaluationPrompt, generated: Pictures, references: References, thresholds: Thresholds
) -> float:
    """Share of generated pictures that reproduce a training picture."""
    # A prompt may recall a repeated picture of other concepts than its own.
    searched = {*references.of_concepts(prompt.caption), *references.repeated}
    reproduced = references.nearest(generated, searched) < thresholds.nearest
    if prompt.source is not None:
        reproduced |= references.nearest(generated, [prompt.source]) < thresholds.single
    return float(reproduced.mean())


def label(rate: float) -> str:
    """``memorized`` from half of the pictures on, ``not_memorized`` for none, else ``partial``."""
    if rate >= MEMORIZED_RATE:
        return "memorized"
    return "not_memorized" if rate == 0 else "partial"
