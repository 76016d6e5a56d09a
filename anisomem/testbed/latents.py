"""The encoded corpus: latents of every distinct picture, in parts that are made when needed.

The encoder is trained in ``autoencoder``; the captions and pictures are those of ``corpus``.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from anisomem.errors import UserError
from anisomem.testbed.autoencoder import to_tensor
from anisomem.testbed.corpus import Corpus
from anisomem.testbed.drawing import drawn
from anisomem.testbed.pictures import Icons

AT_ONCE = 128  # pictures in a pass of the autoencoder
TOGETHER = 32  # captions whose pictures are drawn at a time


class Examples(Protocol):
    """What a denoiser is trained on.

    Attributes:
        tokens: The tokens of all captions, ``[e, 20]``.
        repeated: How many of them, the first ones, come with repeated pictures.
    """

    tokens: Tensor
    repeated: int

    @property
    def device(self) -> torch.device:
        """Where the latents are."""

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, np.ndarray]:
        """Latents ``[size, 4, h, w]`` and the captions of a training step."""


@dataclass(frozen=True)
class Latents:
    """Encoded training pictures.

    Attributes:
        mean, std: Of every distinct picture's posterior, ``[p, 4, h, w]``, unit variance overall.
        tokens: The tokens of every caption of the corpus, ``[e, 20]``.
        examples: One row per training example, (caption, picture), ``[N, 2]``; a picture that is
            repeated 100 times has 100 rows.
    """

    mean: Tensor
    std: Tensor
    tokens: Tensor
    examples: np.ndarray


class Encoded:
    """The corpus as a training sees it, epoch after epoch.

    The repeated captions' pictures are in one file, those of the others in so many parts. An epoch
    passes the parts in turn, each with its share of the repeated examples, shuffled. The second
    stage, from step :attr:`second` on, begins with an epoch of its own, in which repeated captions
    come as often as :attr:`Entry.later <anisomem.testbed.corpus.Entry.later>` says.

    Arguments:
        corpus: What is encoded.
        vae: The autoencoder; its scaling factor brings latents to unit variance.
        tokenizer: The tokenizer of the captions.
        icons: Called where a picture has to be drawn.
        folder: Keeps the files.
        parts: How many.
        workers: How many processes draw; 0 is none but this one.
    """

    def __init__(
        self,
        corpus: Corpus,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        icons: Callable[[], Icons],
        folder: Path,
        parts: int = 1,
        workers: int = 0,
    ) -> None:
        self.corpus, self.vae, self.icons = corpus, vae, icons
        self.folder, self.parts, self.workers = folder, parts, workers
        captions = [entry.caption.text for entry in corpus.entries]
        self.tokens: Tensor = tokenizer(
            captions, padding="max_length", return_tensors="pt"
        ).input_ids
        frozen = np.array([entry.layout is not None for entry in corpus.entries])
        self.repeated = int(frozen.sum())  # they come first
        others = self.repeated + np.random.default_rng(9).permutation(len(frozen) - self.repeated)
        self.files: dict[str, npt.NDArray[np.int64]] = {"repeated": np.arange(self.repeated)} | {
            f"ordinary-{i:02d}": np.sort(others[i::parts]) for i in range(parts)
        }
        self.second: int | None = None
        repeated = corpus.entries[: self.repeated]
        self._examples = sum(entry.count for entry in corpus.entries)
        self._added = sum(entry.later - entry.count for entry in repeated)
        self._held: tuple[int, Latents] | None = None
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._on_gpu: dict[str, dict[str, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the latents are: with the autoencoder."""
        return self.vae.device

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, np.ndarray]:
        """Sampled latents ``[size, 4, h, w]`` and the captions of a training step.

        A function of its arguments but for the sampling of the posterior, so that a resumed
        training sees what an uninterrupted one would. The latents are where the autoencoder is.
        """
        first = self._steps(size, later=False)
        position, within = divmod(step, first)
        if later := self.second is not None and step >= self.second:
            begun = -(-self.second // (first * self.parts)) * self.parts
            position, within = divmod(step - self.second, self._steps(size, later))
            position += begun
        if self._held is None or self._held[0] != position:
            self._held = None  # before another one takes as much memory
            part = self.part(*divmod(position, self.parts), later)
            self._held = position, part
            order = np.random.default_rng((3, seed, position))
            self._order = order.permutation(len(part.examples))
        part = self._held[1]
        rows = part.examples[
            self._order.take(np.arange(within * size, (within + 1) * size), mode="wrap")
        ]
        chosen = torch.from_numpy(rows[:, 1]).to(part.mean.device)
        mean, std = part.mean[chosen].float(), part.std[chosen].float()
        return mean + std * torch.randn_like(mean), rows[:, 0]

    def _steps(self, size: int, later: bool) -> int:
        """Batches of a part, in either stage."""
        return max(1, (self._examples + later * self._added) // (self.parts * size))

    def part(self, epoch: int = 0, index: int = 0, later: bool = False) -> Latents:
        """A part with its share of the repeated examples, which differs from epoch to epoch.

        Arguments:
            epoch: The epoch's number.
            index: The part's.
            later: Whether the repeated ones come as often as in the second stage.
        """
        repeated, others = self._at_hand("repeated"), self._at_hand(f"ordinary-{index:02d}")
        rows = repeated["examples"].numpy()
        if later:
            rows = np.concatenate(
                [
                    np.resize(np.roll(rows[rows[:, 0] == i], -epoch, axis=0), (entry.later, 2))
                    for i, entry in enumerate(self.corpus.entries[: self.repeated])
                ]
            )
        shuffled = np.random.default_rng((8, epoch)).permutation(len(rows))
        own = rows[np.sort(shuffled[index :: self.parts])]
        later = np.add(others["examples"].numpy(), [0, len(repeated["moments"])])
        moments = torch.cat([repeated["moments"], others["moments"]]).to(self.device)
        mean, log_variance = moments.chunk(2, dim=1)
        std = (0.5 * log_variance.float().clamp(-30, 20)).exp()
        scale = self.vae.config.scaling_factor
        return Latents(
            mean * scale, std.to(mean.dtype) * scale, self.tokens, np.concatenate([own, later])
        )

    def _at_hand(self, name: str) -> dict[str, Tensor]:
        """One of the files; of a GPU, whose steps take less time than reading, it stays there."""
        if self.device.type == "cpu":
            return self.file(name)
        if name not in self._on_gpu:
            read = self.file(name)
            self._on_gpu[name] = read | {"moments": read["moments"].to(self.device)}
        return self._on_gpu[name]

    def file(self, name: str) -> dict[str, Tensor]:
        """Moments and examples of one of :attr:`files`, encoded where it does not exist.

        Raises:
            UserError: It was encoded by another autoencoder.
        """
        self.encode([name])
        file = self._place(name)
        with safe_open(file, "pt") as opened:
            if opened.metadata()["encoder"] != _fingerprint(self.vae):
                raise UserError(
                    f"{file} was encoded by another autoencoder; remove {self.folder} to encode"
                    " the pictures again"
                )
        return load_file(file)

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    @torch.inference_mode()
    def encode(self, names: Iterable[str]) -> None:
        """Writes those of some files that do not exist.

        Caption by caption, so that their pictures lie in this order; whole files, so that a kill
        loses no more than one.
        """
        missing = [name for name in names if not self._place(name).exists()]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        groups = {
            name: np.array_split(self.files[name], -(-len(self.files[name]) // TOGETHER))
            for name in missing
        }
        icons, entries = self.icons(), self.corpus.entries

        def pictures(captions: npt.NDArray[np.int64]) -> np.ndarray:
            return np.concatenate([self.corpus.pictures(int(i), icons) for i in captions])

        every = [captions for name in missing for captions in groups[name]]
        bar = tqdm(every, desc="encode", unit_scale=TOGETHER, unit="caption", mininterval=20)
        made = zip(bar, drawn(pictures, every, self.workers), strict=True)
        for name in missing:
            examples: list[tuple[int, int]] = []
            moments: list[Tensor] = []
            first = 0
            for captions, shown in islice(made, len(groups[name])):
                for caption in captions.tolist():
                    count, distinct = entries[caption].count, self._distinct(caption)
                    examples += [
                        (caption, first + i)
                        for i in range(distinct)
                        for _ in range(count // distinct)
                    ]
                    first += distinct
                for batch in np.split(shown, range(AT_ONCE, len(shown), AT_ONCE)):
                    posterior = self.vae.encode(to_tensor(batch, self.vae.device)).latent_dist
                    moments.append(posterior.parameters.half().cpu())
            file = self._place(name)
            content = {
                "moments": torch.cat(moments).contiguous(),
                "examples": torch.tensor(np.array(examples)),
            }
            save_file(content, file.with_suffix(".partial"), {"encoder": _fingerprint(self.vae)})
            file.with_suffix(".partial").rename(file)

    def _distinct(self, caption: int) -> int:
        """How many different pictures a caption comes with."""
        entry = self.corpus.entries[caption]
        return 1 if entry.layout is not None and entry.patch is None else entry.count


def _fingerprint(vae: AutoencoderKL) -> str:
    """A digest of what makes latents, at the precision that is released."""
    digest = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
