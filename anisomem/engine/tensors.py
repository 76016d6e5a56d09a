"""Full evaluations of a few named prompts, as safetensors beside what a run records of all.

The components of all prompts are kept in :mod:`anisomem.storage.store`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from anisomem.detection.needs import Need
from anisomem.storage import atomic, digests

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.detection.needs import Evaluations


class TensorFiles:
    """One file for each wanted prompt and noise seed in a folder.

    A file holds the noise and every evaluated need, with one row for each noise sample; a
    prediction is the network's raw output. Keys read ``noise`` and ``Kind/t/latents/...``, and
    ``OfBaseline/Kind/...`` of the model's baseline.

    Arguments:
        folder: Where they lie.
        wanted: Ids of prompts.
    """

    def __init__(self, folder: Path, wanted: Sequence[str]) -> None:
        self.folder, self.wanted = folder, frozenset(wanted)

    def path(self, prompt: str, seed: int) -> Path:
        """The file of a prompt at a noise seed."""
        return self.folder / f"seed{seed}" / digests.file_name(prompt, ".safetensors")

    def lacking(self, ids: Sequence[str], seed: int) -> bool:
        """Whether one of the prompts is wanted and not there."""
        return any(i in self.wanted and not self.path(i, seed).exists() for i in ids)

    def write(self, seed: int, contents: Mapping[str, bytes]) -> None:
        """Writes what a :class:`Collector` holds; each file is whole or not there."""
        for prompt, content in contents.items():
            atomic.write_bytes(self.path(prompt, seed), content)


class Collector:
    """The evaluations of the wanted prompts of a batch, which need not be made where they lie.

    Arguments:
        wanted: Ids of prompts.
        ids: Those of the batch.
    """

    def __init__(self, wanted: Sequence[str], ids: Sequence[str]) -> None:
        self.rows = {prompt: row for row, prompt in enumerate(ids) if prompt in wanted}
        self.kept: dict[str, dict[str, list[Tensor]]] = {prompt: {} for prompt in self.rows}

    def __call__(self, sample: int, evaluations: Evaluations) -> None:
        """Keeps those of a noise sample."""
        named = {"noise": evaluations.noise}
        for need, value in evaluations.values.items():
            named[_key(need)] = getattr(value, "raw", value)
        for prompt, row in self.rows.items():
            for key, tensor in named.items():
                self.kept[prompt].setdefault(key, []).append(tensor[row].cpu().clone())

    def contents(self) -> dict[str, bytes]:
        """What was kept of each prompt, as the content of its file."""
        import torch
        from safetensors.torch import save

        return {
            prompt: save({key: torch.stack(samples) for key, samples in tensors.items()})
            for prompt, tensors in self.kept.items()
        }


def _key(need: Need) -> str:
    """What a need is called in a file: its kind, then what it says."""
    values = (getattr(need, field.name) for field in fields(need))
    said = [_key(v) if isinstance(v, Need) else str(v).removeprefix("t:") for v in values]
    return "/".join([type(need).__name__, *said])
