"""The encoded corpus: latents of every distinct picture, in parts that are made when needed.

The encoder is trained in ``autoencoder``; the captions and pictures are those of ``corpus``.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
from anisomem.testbed.pictures import Icons

AT_ONCE = 128  # pictures in a pass of the autoencoder


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
    passes the parts in turn, each with its share of the repeated examples, shuffled.

    Arguments:
        corpus: What is encoded.
        vae: The autoencoder; its scaling factor brings latents to unit variance.
        tokenizer: The tokenizer of the captions.
        icons: Called where a picture has to be drawn.
        folder: Keeps the files.
        parts: How many.
    """

    def __init__(
        self,
        corpus: Corpus,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        icons: Callable[[], Icons],
        folder: Path,
        parts: int = 1,
    ) -> None:
        self.corpus, self.vae, self.icons = corpus, vae, icons
        self.folder, self.parts = folder, parts
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
        self._examples = sum(entry.count for entry in corpus.entries)
        self._held: tuple[int, Latents] | None = None

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, np.ndarray]:
        """Sampled latents ``[size, 4, h, w]`` and the captions of a training step.

        A function of its arguments but for the sampling of the posterior, so that a resumed
        training sees what an uninterrupted one would.
        """
        position, within = divmod(step, max(1, self._examples // (self.parts * size)))
        if self._held is None or self._held[0] != position:
            self._held = None  # before another one takes as much memory
            self._held = position, self.part(*divmod(position, self.parts))
        part = self._held[1]
        order = np.random.default_rng((3, seed, position)).permutation(len(part.examples))
        rows = part.examples[
            order.take(np.arange(within * size, (within + 1) * size), mode="wrap")
        ]
        mean, std = part.mean[rows[:, 1]].float(), part.std[rows[:, 1]].float()
        return mean + std * torch.randn_like(mean), rows[:, 0]

    def part(self, epoch: int = 0, index: int = 0) -> Latents:
        """A part with its share of the repeated examples, which differs from epoch to epoch."""
        repeated, others = self.file("repeated"), self.file(f"ordinary-{index:02d}")
        shuffled = np.random.default_rng((8, epoch)).permutation(len(repeated["examples"]))
        own = repeated["examples"].numpy()[np.sort(shuffled[index :: self.parts])]
        later = np.add(others["examples"].numpy(), [0, len(repeated["moments"])])
        mean, log_variance = torch.cat([repeated["moments"], others["moments"]]).chunk(2, dim=1)
        std = (0.5 * log_variance.float().clamp(-30, 20)).exp()
        scale = self.vae.config.scaling_factor
        return Latents(
            mean * scale, std.to(mean.dtype) * scale, self.tokens, np.concatenate([own, later])
        )

    def file(self, name: str) -> dict[str, Tensor]:
        """Moments and examples of one of :attr:`files`, encoded where it does not exist.

        Raises:
            UserError: It was encoded by another autoencoder.
        """
        file, encoder = self.folder / f"{name}.safetensors", _fingerprint(self.vae)
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            made = self._encode(name, self.files[name])
            save_file(made, file.with_suffix(".partial"), {"encoder": encoder})
            file.with_suffix(".partial").rename(file)
        with safe_open(file, "pt") as opened:
            if opened.metadata()["encoder"] != encoder:
                raise UserError(
                    f"{file} was encoded by another autoencoder; remove {self.folder} to encode"
                    " the pictures again"
                )
        return load_file(file)

    @torch.inference_mode()
    def _encode(self, name: str, entries: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Moments and examples; entry by entry, so that their pictures lie in this order."""
        examples: list[tuple[int, int]] = []
        moments: list[Tensor] = []
        waiting: list[np.ndarray] = []

        def flush() -> None:
            encoded = self.vae.encode(to_tensor(np.stack(waiting))).latent_dist
            moments.append(encoded.parameters.half())
            waiting.clear()

        first, icons = 0, self.icons()
        for index in tqdm(entries, desc=f"encode {name}", mininterval=20):
            drawn, count = (
                self.corpus.pictures(int(index), icons),
                self.corpus.entries[index].count,
            )
            repeats = count // len(drawn)
            examples += [(index, first + i) for i in range(len(drawn)) for _ in range(repeats)]
            first += len(drawn)
            waiting += drawn
            if len(waiting) >= AT_ONCE:
                flush()
        if waiting:
            flush()
        return {
            "moments": torch.cat(moments).contiguous(),
            "examples": torch.tensor(np.array(examples)),
        }


def _fingerprint(vae: AutoencoderKL) -> str:
    """A digest of what makes latents, at the precision that is released."""
    digest = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.half().contiguous().numpy().tobytes())
    return digest.hexdigest()
