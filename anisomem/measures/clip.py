"""Fidelity by CLIP: whether pictures show the prompt, and how they please.

Weights are downloaded and verified by ``weights``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError
from anisomem.measures.base import Array, Generated, Measure, Statistic, TrainingPictures, mean
from anisomem.measures.weights import WeightsFile, device

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32  # pictures in a forward pass
ZIP = b"PK\x03\x04"  # how a file of torch.save begins


class Clip:
    """A CLIP model with its tokenizer and its preparation of pictures.

    Pictures are prepared by Pillow as OpenAI's and OpenCLIP's code does (bicubic, shorter side,
    centre crop), whether torchvision is installed or not.

    Arguments:
        path: Folder or hub repository in transformers' layout, weights in safetensors.
        revision: Commit, branch or tag of the repository.
        device: The device for torch.

    Raises:
        UserError: No such model.
    """

    def __init__(self, path: str, revision: str | None, device: str) -> None:
        from safetensors import SafetensorError
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        try:
            model = CLIPModel.from_pretrained(path, revision=revision, use_safetensors=True)
            self.tokenizer: Any = CLIPTokenizer.from_pretrained(path, revision=revision)
            self.prepare: Any = CLIPImageProcessorPil.from_pretrained(path, revision=revision)
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(
                f"no CLIP model at {path!r} (expected a folder or a hub repository of "
                f"transformers, weights in safetensors): {str(error).strip().splitlines()[0]}"
            ) from None
        self.model: Any = model.to(device).eval().requires_grad_(False)
        self.device, self.width = device, int(model.config.projection_dim)

    def pictures(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Embeddings of length 1, ``[S, d]``."""
        import torch
        from torch.nn.functional import normalize

        embeddings = []
        for begin in range(0, len(pictures), BATCH):
            images = list(pictures[begin : begin + BATCH])
            given = self.prepare(images, input_data_format="channels_last", return_tensors="pt")
            with torch.inference_mode():
                output = self.model.get_image_features(given.pixel_values.to(self.device))
            embeddings.append(output.pooler_output.float())
        return normalize(torch.cat(embeddings), dim=1).cpu()

    def text(self, text: str) -> Tensor:
        """Embedding of length 1, ``[d]``; what does not fit is cut."""
        import torch
        from torch.nn.functional import normalize

        room = self.model.config.text_config.max_position_embeddings
        given = self.tokenizer([text], truncation=True, max_length=room, return_tensors="pt")
        with torch.inference_mode():
            output = self.model.get_text_features(**given.to(self.device))
        return normalize(output.pooler_output.float(), dim=1)[0].cpu()


load = cache(Clip)  # measures share a model


@dataclass
class ClipScore(Measure):
    r"""Cosine similarity of a picture and the prompt as the user gave it.

    .. math:: \frac{f(x)^\top g(\text{prompt})}{\|f(x)\| \|g(\text{prompt})\|}

    The cosine itself, as Wen et al. (2024) and MemBench report it: neither times 100
    (torchmetrics) nor times 2.5 and cut at 0 (Hessel et al., 2021).

    Arguments:
        model: Folder or hub repository in transformers' layout.
        revision: The revision of the repository.

    Raises:
        UserError: No such model, or its weights are not in safetensors.
    """

    model: str
    revision: str | None = None
    _clip: Clip = field(init=False, repr=False, compare=False)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic(f"CLIP score ({Path(self.model).name})", "fidelity", "clip", mean),)

    def start(self, references: TrainingPictures, device_name: str) -> None:
        self._clip = load(self.model, self.revision, device(device_name))

    def __call__(self, generated: Generated) -> dict[str, Array]:
        similarity = self._clip.pictures(generated.pictures) @ self._clip.text(generated.text)
        return {"clip": similarity.double().numpy()}


@dataclass
class Aesthetic(Measure):
    """LAION's aesthetic predictor: five linear layers on a CLIP embedding of length 1.

    Trained on ratings from 1 to 10, without activations between the layers.

    Arguments:
        weights: Path or ``https://`` address of its layers in safetensors, under the published
            names ``layers.0.weight`` and so on; docs/measures.md converts the published file.
        sha256: The sha256 of its bytes.
        model, revision: The CLIP model that it was trained on, ViT-L/14.

    Raises:
        UserError: Weights that are not there, are others, or do not fit.
    """

    weights: str
    sha256: str
    model: str
    revision: str | None = None
    _clip: Clip = field(init=False, repr=False, compare=False)
    _layers: list[tuple[Tensor, Tensor]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        WeightsFile(self.weights, self.sha256)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("aesthetic score", "fidelity", "aesthetic", mean),)

    def start(self, references: TrainingPictures, device_name: str) -> None:
        self._layers = _layers(self.weights, WeightsFile(self.weights, self.sha256).read())
        self._clip = load(self.model, self.revision, device(device_name))
        if (taken := self._layers[0][0].shape[1]) != self._clip.width:
            raise UserError(
                f"{self.weights} takes {taken} numbers, and {self.model} makes {self._clip.width}"
            )

    def __call__(self, generated: Generated) -> dict[str, Array]:
        x = self._clip.pictures(generated.pictures)
        for weight, bias in self._layers:
            x = x @ weight.T + bias
        return {"aesthetic": x[:, 0].double().numpy()}


def _layers(name: str, content: bytes) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer, in order.

    Raises:
        UserError: The file is not safetensors, or no chain of linear layers that ends in one
            number.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as read

    if content.startswith(ZIP):
        raise UserError(f"{name} is a pickle of PyTorch; convert it, see docs/measures.md")
    try:
        tensors = read(content)
    except SafetensorError as error:
        raise UserError(f"{name} is no safetensors file: {error}") from None
    kinds = ("weight", "bias")
    numbers = sorted({int(k.split(".")[1]) for k in tensors if k.startswith("layers.")})
    if not numbers or {f"layers.{i}.{kind}" for i in numbers for kind in kinds} != set(tensors):
        raise UserError(f"{name} has {', '.join(sorted(tensors)[:3])}…, expected layers.0.weight…")
    layers = [
        (tensors[f"layers.{i}.weight"].float(), tensors[f"layers.{i}.bias"].float())
        for i in numbers
    ]
    shapes = [weight.shape for weight, _ in layers]
    if any(a[0] != b[1] for a, b in pairwise(shapes)) or shapes[-1][0] != 1:
        raise UserError(f"{name}: layers of {[list(s) for s in shapes]} make no single number")
    return layers
