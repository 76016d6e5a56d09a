"""Pipelines of diffusers behind the common contract: loading, and what all families share."""

import logging
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor
from transformers.utils import logging as transformers_logging

from anisomem.errors import UserError, one_of
from anisomem.models import agreement, architecture, files, parts, single_file
from anisomem.models.base import Conditioning, DiffusionModel, Parameterisation, Prediction
from anisomem.storage.foreign import located

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
WEIGHTS = ("pretrained", "random")
OFFLOADS = ("model", "sequential")
WANTED = {"use_safetensors": True, "safety_checker": None}  # of a repository


class PipelineModel(DiffusionModel):
    """A text-to-image pipeline; one subclass per family.

    Arguments:
        pipeline: The pipeline; its network, text encoders, tokenizers and autoencoder are used.
        stands_for: Key of the published model whose detector weights apply.

    Raises:
        UserError: The pipeline lacks a text encoder, or its scheduler is of another kind.
    """

    pipeline_class: ClassVar[type[DiffusionPipeline]]
    saved_as: ClassVar[Sequence[str]] = ()  # other pipelines of the same parts
    denoiser_name: ClassVar[str] = "unet"
    encoder_names: ClassVar[Sequence[str]] = ("text_encoder",)  # those it can't do without
    pooled_names: ClassVar[Sequence[str]] = ()  # those whose state at the prompt's end is read
    inputs: ClassVar[Sequence[str]] = ()  # what the network is given besides, in its own words
    offloaded: bool = False

    def __init__(self, pipeline: DiffusionPipeline, stands_for: str | None = None) -> None:
        tokenizers = [name.replace("text_encoder", "tokenizer") for name in self.encoder_names]
        for name in (*self.encoder_names, *tokenizers, self.denoiser_name, "scheduler"):
            if getattr(pipeline, name) is None:
                raise UserError(
                    f"the pipeline has no {name}; detectors compare the model with a prompt and"
                    f" without, and a {self.pipeline_class.__name__} needs it for that"
                )
        for name in ("text_encoder_2", "text_encoder_3"):
            tokenizer = name.replace("text_encoder", "tokenizer")
            given = [getattr(pipeline, part, None) is not None for part in (name, tokenizer)]
            if given == [True, False]:
                raise UserError(f"the pipeline has {name} and no {tokenizer}")
        self.pipeline = pipeline
        self.denoiser = getattr(pipeline, self.denoiser_name).eval().requires_grad_(False)
        self.device, self.dtype = self.denoiser.device, self.denoiser.dtype
        self.decodes = pipeline.vae is not None
        self.stands_for = stands_for
        config = self.denoiser.config
        agreement.require_inputs(config, pipeline.vae, self.inputs)
        self._require_widths()
        self.latent_shape = (config.in_channels, *architecture.sides(config.sample_size))
        if self.decodes:
            agreement.require_autoencoder(pipeline.vae)
        self._read_scheduler(pipeline.scheduler)

    @abstractmethod
    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        """Sets schedule and parameterisation as the scheduler's configuration says."""

    @abstractmethod
    def _require_widths(self) -> None:
        """Checks that what the text encoders hand on is as wide as what the network reads.

        Raises:
            UserError: It is not.
        """

    @classmethod
    def load(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        stands_for: str | None = None,
        parameterisation: str | None = None,
        attention_slicing: str | int | None = None,
        offload: str | None = None,
        weights: str = "pretrained",
        alternative: str | None = None,
        variant: str | None = None,
    ) -> "PipelineModel":
        """Loads a local folder or checkpoint or a hub repository, safetensors only.

        The family is the one that the pipeline names in its model_index.json; a subclass loads
        its own alone.

        Arguments:
            path: The folder, the checkpoint in one file, or the repository.
            revision: A commit, branch or tag of the repository; None is its main branch.
            dtype: ``float32``, ``float16`` or ``bfloat16``.
            device: ``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
            stands_for: Key of the published model whose detector weights apply.
            parameterisation: What the network is said to predict; must be what its scheduler
                says.
            attention_slicing: As ``enable_attention_slicing`` of diffusers: ``auto``, ``max`` or
                heads at a time.
            offload: ``model`` or ``sequential``: what waits in the CPU's memory and visits the
                accelerator when it is its turn.
            weights: ``random`` builds the architecture alone, for timing.
            alternative: A repository to name where ``path`` is not to be had.
            variant: What the names of the weights' files end with, such as ``fp16``; None is the
                plain ones, or the only ones that are there.

        Raises:
            UserError: A choice that does not exist, a device that is not there, no pipeline at
                ``path``, one of another family, whose parts are not whole or do not belong
                together, or one that contradicts ``parameterisation``.
        """
        one_of("dtype", dtype, DTYPES)
        one_of("device", device.partition(":")[0], DEVICES)
        one_of("weights", weights, WEIGHTS)
        if offload is not None:
            one_of("offload", offload, OFFLOADS)
        if parameterisation is not None:
            one_of("parameterisation", parameterisation, map(str, Parameterisation))
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if offload and device == "cpu":
            raise UserError(
                f"model.offload={offload} needs an accelerator; on the CPU give model.offload=null"
            )
        random = weights == "random"
        try:
            place = architecture.folder(path) if random else fetch(path, revision, variant)
        except (OSError, ValueError, httpx2.HTTPError) as error:
            instead = f"; try model.path={alternative}" if alternative else ""
            raise UserError(
                f"no diffusers pipeline at {path!r} (expected a folder with model_index.json or a "
                f"hub repository, weights in safetensors){instead}: {str(error).splitlines()[0]}"
            ) from None
        precision = getattr(torch, dtype)
        try:
            if place.is_file():
                model = cls._of_checkpoint(place, precision, parameterisation)
            else:
                model = cls._of_folder(path, place, precision, variant, random)
        except OSError as error:
            raise UserError(
                f"{error.filename or place} cannot be read: {error.strerror}"
            ) from None
        model.stands_for = stands_for
        if parameterisation not in (None, model.parameterisation):
            raise UserError(
                f"model.parameterisation={parameterisation} contradicts the scheduler of {path!r},"
                f" which says {model.parameterisation}; leave it null or correct one of them"
            )
        if not random and not located(path):
            model.repository, model.revision = path, place.name
        model.place(device, attention_slicing, offload)
        return model

    @classmethod
    def _of_folder(
        cls, path: str, folder: Path, dtype: torch.dtype, variant: str | None, random: bool
    ) -> "PipelineModel":
        index = files.read_index(folder)
        family = cls._family(path, index)
        agreement.require_parts(index)
        if random:
            given = family.pipeline_class, folder, index, dtype
            return family(parts.made(folder, "pipeline", lambda: architecture.build(*given)))
        pipeline = parts.pipeline(family.pipeline_class, folder, index, dtype, variant)
        model = family(pipeline)
        agreement.require_text(model.readers)
        model.variant = files.chosen(folder, index, variant)
        told = parts.changed(folder, pipeline, family.denoiser_name)
        model.cautions = [*told, *beside(folder)]
        return model

    @classmethod
    def _of_checkpoint(
        cls, file: Path, dtype: torch.dtype, parameterisation: str | None
    ) -> "PipelineModel":
        folder = architecture.folder(single_file.repository(file, parameterisation))
        index = files.read_index(folder)
        family = cls._family(str(file), index)
        described = family.pipeline_class, file, folder, index, dtype, parameterisation
        model = family(single_file.pipeline(*described))
        agreement.require_text(model.readers)
        return model

    @classmethod
    def _family(cls, path: str, index: Mapping[str, Any]) -> "type[PipelineModel]":
        """The subclass for a pipeline, by its model_index.json."""
        named = str(index["_class_name"])[:80]
        candidates = families() if cls is PipelineModel else [cls]
        for family in candidates:
            if named in (family.pipeline_class.__name__, *family.saved_as):
                return family
        expected = sorted(family.pipeline_class.__name__ for family in candidates)
        raise UserError(f"{path!r} is a {named}; expected a {' or a '.join(expected)}")

    def place(
        self, device: str, attention_slicing: str | int | None = None, offload: str | None = None
    ) -> None:
        """Moves the pipeline to its device, or arranges that its parts move when they are needed.

        Raises:
            UserError: No such device, or an option that it or the network has no use for.
        """
        try:
            torch.empty(0, device=device)  # offloading would notice only later
            if attention_slicing is not None:
                if isinstance(attention_slicing, str):
                    one_of("attention_slicing", attention_slicing, ("auto", "max"))
                elif type(attention_slicing) is not int or attention_slicing < 1:
                    # diffusers takes a number below 1 and skips the attention.
                    raise UserError(
                        "model.attention_slicing must be auto, max, null or a positive number of "
                        f"heads, got {attention_slicing!r}"
                    )
                if not hasattr(self.denoiser, "set_attention_slice"):
                    raise UserError(
                        f"attention_slicing has no effect on a {type(self.denoiser).__name__}; "
                        "use model.offload=sequential, or leave model.attention_slicing=null"
                    )
                self.pipeline.enable_attention_slicing(attention_slicing)
            if offload == "model":
                self.pipeline.enable_model_cpu_offload(device=device)
            elif offload == "sequential":
                self.pipeline.enable_sequential_cpu_offload(device=device)
            else:
                self.pipeline.to(device)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(f"device {device!r}: {str(error).splitlines()[0]}") from None
        self.device, self.offloaded = torch.device(device), offload is not None

    def jvp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, tangent: Tensor
    ) -> tuple[Prediction, Tensor]:
        if self.offloaded:  # moving weights inside the transform corrupts them
            raise UserError(
                "directional derivatives need the network in one place; set model.offload=null, "
                "or leave out the detectors that take them"
            )
        return super().jvp(x, t, conditioning, tangent)

    @property
    def text_encoders(self) -> list[torch.nn.Module]:
        """Those that the pipeline has."""
        return [reader.encoder for reader in self.readers]

    @property
    def readers(self) -> list[agreement.Reader]:
        """The text encoders with what each is given."""
        found = []
        for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
            encoder = getattr(self.pipeline, name, None)
            tokenizer = getattr(self.pipeline, name.replace("text_encoder", "tokenizer"), None)
            if encoder is not None and tokenizer is not None:
                pooled = name in self.pooled_names
                found.append(agreement.Reader(name, tokenizer, encoder, pooled))
        return found

    def tokens(self, tokenizer: Any, prompts: Sequence[str], length: int | None = None) -> Any:
        """Ids and mask on the device, padded and cut to the tokenizer's length or another."""
        return tokenizer(
            list(prompts),
            padding="max_length",
            max_length=length or tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)

    def truncated(self, prompts: Sequence[str]) -> int:
        # A tokenizer warns about every long sequence it is asked to measure.
        logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
        cut = [False] * len(prompts)
        for tokenizer, limit in self._limits():
            for i, ids in enumerate(tokenizer(list(prompts)).input_ids):
                cut[i] |= len(ids) > limit
        return sum(cut)

    def _limits(self) -> list[tuple[Any, int]]:
        """Every tokenizer with the number of tokens that its encoder reads."""
        return [(self.pipeline.tokenizer, self.pipeline.tokenizer.model_max_length)]

    @property
    def _autoencoder(self) -> Any:
        if not self.decodes:
            raise UserError(
                "the pipeline has no autoencoder (vae), so it makes no pictures; leave out what"
                " looks at them, or add the part"
            )
        return self.pipeline.vae

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> np.ndarray:
        vae = self._autoencoder
        scaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)
        images = vae.decode(scaled.to(self.device, vae.dtype)).sample.float()
        unit = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (unit.cpu().numpy() * 255).round().astype(np.uint8)

    @property
    def has_decoder(self) -> bool:
        return getattr(self.pipeline, "vae", None) is not None

    @torch.inference_mode()
    def latents_of(self, pictures: np.ndarray) -> Tensor:
        """What :meth:`decode` inverts: the autoencoder's mean for each picture.

        Arguments:
            pictures: uint8 ``[n, H, W, 3]`` at the model's own resolution.

        Returns:
            ``[n, C, h, w]`` float32, on the CPU.
        """
        vae = self._autoencoder
        unit = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        mean = vae.encode(unit.to(self.device, vae.dtype)).latent_dist.mean.float().cpu()
        return (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor


def families() -> list[type[PipelineModel]]:
    """Those whose pipelines are recognised."""
    from anisomem.models.diffusers_unet import DiffusersUNet
    from anisomem.models.sd3 import StableDiffusion3
    from anisomem.models.sdxl import StableDiffusionXL

    return [DiffusersUNet, StableDiffusionXL, StableDiffusion3]


def beside(folder: Path) -> list[str]:
    """What lies beside a pipeline and is not loaded, in words."""
    return [
        f"{name} beside the model is not loaded: scores are those of the model without it"
        for name in files.adapters(folder)
    ]


def present(path: str, revision: str | None) -> bool:
    """Whether a pipeline can be loaded without the network."""
    if located(path):
        return True
    try:
        DiffusionPipeline.download(path, revision=revision, local_files_only=True, **WANTED)
    except (OSError, ValueError):  # the latter is a name that no repository can have
        return False
    return True


def size(path: str, revision: str | None) -> int | None:
    """Bytes that :func:`fetch` downloads of a repository, None where the hub does not answer."""
    try:
        found = HfApi().model_info(path, revision=revision, files_metadata=True).siblings or []
    except (HfHubHTTPError, OSError, httpx2.HTTPError, ValueError):
        return None
    # Checkpoints in one file and half-precision variants are left where they are.
    wanted = [f for f in found if "/" in f.rfilename and f.rfilename.count(".") == 1]
    wanted = [f for f in wanted if f.rfilename.partition("/")[0] not in architecture.EXTRAS]
    kept = [f for f in wanted if f.rfilename.endswith((".safetensors", ".json", ".txt"))]
    return sum(f.size or 0 for f in kept)


def fetch(path: str, revision: str | None, variant: str | None = None) -> Path:
    """The local folder itself, or the repository's snapshot, whose name is its commit."""
    if found := located(path):
        return found
    snapshot = DiffusionPipeline.download(path, revision=revision, variant=variant, **WANTED)
    return Path(os.fspath(snapshot))
