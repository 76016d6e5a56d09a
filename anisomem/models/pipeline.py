"""Pipelines of diffusers behind the common contract: what all families share.

A family is a subclass in a file of its own: what it declares, how it encodes prompts, and what its
network is called with.
"""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from anisomem.errors import UserError
from anisomem.models import agreement, architecture, loading
from anisomem.models.base import DiffusionModel
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.layout import Layout
from anisomem.models.loading import Source


class PipelineModel(DiffusionModel):
    """A text-to-image pipeline; one subclass per family.

    Arguments:
        pipeline: The pipeline; its network, text encoders, tokenizers and autoencoder are used.
        stands_for: Key of the published model whose detector weights apply.

    Attributes:
        layout: The parts of the family's pipelines.
        readers: The text encoders that this one has, with what each is given.

    Raises:
        UserError: The pipeline lacks a text encoder, or its scheduler is of another kind.
    """

    layout: ClassVar[Layout]
    declares = DiffusionModel.declares | {Capability.ENCODER, Capability.VOCABULARY}
    offloaded: bool = False

    def __init__(self, pipeline: DiffusionPipeline, stands_for: str | None = None) -> None:
        self.layout.require(pipeline)
        self.pipeline, self.readers = pipeline, self.layout.readers(pipeline)
        self.denoiser = getattr(pipeline, self.layout.denoiser).eval().requires_grad_(False)
        self.device, self.dtype = self.denoiser.device, self.denoiser.dtype
        self.stands_for = stands_for
        config = self.denoiser.config
        agreement.require_inputs(config, pipeline.vae, self.layout.inputs)
        self._require_widths()
        self.latent_shape = self.shape_of(config)
        if pipeline.vae is not None:
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

    @staticmethod
    @abstractmethod
    def arguments(t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        """What the network is called with behind the latents.

        Arguments:
            t: Timesteps ``[n]``, on the network's device.
            conditioning: What :meth:`encode` or :meth:`blank` makes.
        """

    @staticmethod
    @abstractmethod
    def blank(config: Mapping[str, Any]) -> Conditioning:
        """The conditioning of one prompt in shape alone, for what a pass takes.

        Arguments:
            config: The network's configuration.
        """

    @classmethod
    def shape_of(cls, config: Mapping[str, Any]) -> tuple[int, int, int]:
        """``(C, H, W)`` of the latents that a network is made for.

        Arguments:
            config: The network's configuration.

        Raises:
            UserError: It does not say.
        """
        channels = config.get("in_channels", 4)
        if not isinstance(channels, int):
            raise UserError(
                f"the network's config.json has in_channels={channels}; expected a number"
            )
        return channels, *architecture.sides(config.get("sample_size"))

    @classmethod
    def load(cls, path: str, revision: str | None = None, **settings: Any) -> Self:
        """The model at ``path``, which must be of this family.

        Arguments:
            path: A local folder or checkpoint or a hub repository.
            revision: A commit, branch or tag of the repository.
            settings: The other attributes of :class:`~anisomem.models.loading.Source`.

        Raises:
            UserError: A choice that does not exist, a device that is not there, no pipeline at
                ``path``, one of another family, whose parts are not whole or do not belong
                together, or one that contradicts ``parameterisation``.
        """
        return cls.read(Source(path, revision, **settings))

    @classmethod
    def read(cls, source: Source) -> Self:
        """The model of a source, as :meth:`load`."""
        loaded = loading.load(source, cls.layout)
        model = cls(loaded.pipeline, source.stands_for)
        if not source.random:  # whose vocabulary is a stand-in
            agreement.require_text(model.readers)
        model.variant, model.cautions = loaded.variant, loaded.cautions
        model.weights, model.adapters = loaded.weights, loaded.adapters
        if source.parameterisation not in (None, model.parameterisation):
            raise UserError(
                f"model.parameterisation={source.parameterisation} contradicts the scheduler of"
                f" {source.path!r}, which says {model.parameterisation}; leave it null or correct"
                " one of them"
            )
        model.repository, model.revision = source.repository, source.commit
        model.place(source.placed, source.attention_slicing, source.offload)
        return model

    def place(
        self, device: str, attention_slicing: str | int | None = None, offload: str | None = None
    ) -> None:
        """Moves the pipeline to its device, or arranges that its parts move when they are needed.

        From then on float32 means float32 in this process: PyTorch rounds what a GPU's
        convolutions read to TF32's ten bits unless it is told not to.

        Raises:
            UserError: No such device, or an option that it or the network has no use for.
        """
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        try:
            torch.empty(0, device=device)  # offloading would notice only later
            if attention_slicing is not None:
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

    def unlike(self, other: DiffusionModel) -> str:
        if said := super().unlike(other):
            return said
        assert isinstance(other, PipelineModel)
        return agreement.other_text(self.readers, other.readers)

    @contextmanager
    def aside(self) -> Iterator[None]:
        if self.device.type == "cpu" or self.offloaded:
            yield
            return
        networks = [network for some in self.networks.values() for network in some]
        for network in networks:
            network.to("cpu")
        torch.cuda.empty_cache()
        try:
            yield
        finally:
            for network in networks:
                network.to(self.device)

    @property
    def capabilities(self) -> frozenset[Capability]:
        lacking = set()
        if self.pipeline.vae is None:
            lacking |= {Capability.PICTURES, Capability.ENCODER}
        if self.offloaded:  # moving weights inside a transform corrupts them
            lacking.add(Capability.DERIVATIVES)
        return self.declares - lacking

    @property
    def text_encoders(self) -> list[nn.Module]:
        """Those that the pipeline has."""
        return [reader.encoder for reader in self.readers]

    @property
    def networks(self) -> dict[str, list[nn.Module]]:
        """All its networks, by what they are for."""
        return {
            self.layout.denoiser: [self.denoiser],
            "text encoders": self.text_encoders,
            "autoencoder": [] if self.pipeline.vae is None else [self.pipeline.vae],
        }

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        given = self._given(t.to(self.device), conditioning)
        x = x.to(self.device, self.dtype)
        output: Tensor = self.denoiser(x, **given, return_dict=False)[0]
        return output

    def _given(self, t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        """:meth:`arguments`, or what says the same to the loaded network in less."""
        return self.arguments(t, conditioning)

    def tokens(self, reader: agreement.Reader, prompts: Sequence[str]) -> Any:
        """Ids and mask of prompts on the device, padded and cut to what a text encoder reads."""
        tokens = reader.tokenizer(
            self._written_out(reader, prompts),
            padding="max_length",
            max_length=reader.limit,
            truncation=True,
        )
        # The tokenizer's own tensors take as long as its tokens.
        for name, rows in tokens.items():
            tokens[name] = torch.tensor(rows, device=self.device)
        return tokens

    def truncated(self, prompts: Sequence[str]) -> int:
        # A tokenizer warns about every long sequence it is asked to measure.
        logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
        cut = [False] * len(prompts)
        for reader in self.readers:
            written = self._written_out(reader, prompts)
            for i, ids in enumerate(reader.tokenizer(written).input_ids):
                cut[i] |= len(ids) > reader.limit
        return sum(cut)

    def _written_out(self, reader: agreement.Reader, prompts: Sequence[str]) -> list[str]:
        """Prompts with a learned word of several vectors as the tokens that it stands for."""
        if any(len(one.get("tokens", ())) > 1 for one in self.adapters):
            written: list[str] = self.pipeline.maybe_convert_prompt(
                list(prompts), reader.tokenizer
            )
            return written
        return list(prompts)

    @cached_property
    def _ordinary(self) -> list[int]:
        """The tokens of the first tokenizer but its special ones and learned words."""
        tokenizer = self.readers[0].tokenizer
        learned = [token for one in self.adapters for token in one.get("tokens", ())]
        left_out = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids(learned)}
        return [i for i in range(len(tokenizer)) if i not in left_out]

    def random_token(self, rng: np.random.Generator) -> str:
        return str(self.readers[0].tokenizer.decode([int(rng.choice(self._ordinary))]))

    @contextmanager
    def padded_with(self, token: str) -> Iterator[None]:
        tokenizers = [reader.tokenizer for reader in self.readers]
        before = [tokenizer.pad_token for tokenizer in tokenizers]
        for tokenizer in tokenizers:
            tokenizer.pad_token = token
        try:
            yield
        finally:
            for tokenizer, own in zip(tokenizers, before, strict=True):
                tokenizer.pad_token = own

    @property
    def autoencoder(self) -> Any:
        """The part that makes pictures of latents and the other way round.

        Raises:
            UserError: There is none.
        """
        if self.pipeline.vae is None:
            raise UserError(
                "the pipeline has no autoencoder (vae), so it makes no pictures; leave out what"
                " looks at them, or add the part"
            )
        return self.pipeline.vae

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> np.ndarray:
        vae = self.autoencoder
        scaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)
        images = vae.decode(scaled.to(self.device, vae.dtype)).sample.float()
        unit = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (unit.cpu().numpy() * 255).round().astype(np.uint8)

    @property
    def picture_size(self) -> tuple[int, int]:
        height, width = (self.pipeline.vae_scale_factor * side for side in self.latent_shape[1:])
        return height, width

    @torch.inference_mode()
    def latents_of(self, pictures: np.ndarray) -> Tensor:
        """The autoencoder's mean for each picture."""
        vae = self.autoencoder
        unit = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        mean = vae.encode(unit.to(self.device, vae.dtype)).latent_dist.mean.float().cpu()
        return (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
