"""Stable Diffusion 3: three text encoders and a transformer trained by flow matching.

What families share is in ``pipeline``; the schedule is ``FlowSchedule`` in ``schedule``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin, StableDiffusion3Pipeline
from torch import Tensor

from anisomem.models.agreement import Reader, require_widths
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.joint_attention import JointAttention, taken_once
from anisomem.models.layout import Layout, TextEncoder
from anisomem.models.pipeline import PipelineModel
from anisomem.models.prediction import Parameterisation
from anisomem.models.schedule import FlowSchedule
from anisomem.models.vocabulary import TOKENS

T5_TOKENS = 256  # the pipeline's own limit


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledConditioning(Conditioning):
    """Prompts as Stable Diffusion 3 reads them.

    Attributes:
        pooled: State of the prompt as a whole by both of CLIP's encoders, ``[n, width]``.
    """

    pooled: Tensor


class StableDiffusion3(PipelineModel):
    """Stable Diffusion 3 and 3.5.

    The T5 encoder may be absent; its states are zeros then. Esser et al., ICML 2024.
    """

    layout = Layout(
        StableDiffusion3Pipeline,
        saved_as=("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
        denoiser="transformer",
        encoders=(
            TextEncoder("text_encoder", pooled=True),
            TextEncoder("text_encoder_2", pooled=True),
            TextEncoder("text_encoder_3", needed=False, limit=T5_TOKENS),
        ),
    )
    declares = PipelineModel.declares | {Capability.EMBEDDINGS}

    def __init__(self, pipeline: DiffusionPipeline, stands_for: str | None = None) -> None:
        super().__init__(pipeline, stands_for)
        if not self._t5:
            self.denoiser.set_attn_processor(JointAttention())

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        self.schedule = FlowSchedule.following(scheduler)
        self.parameterisation = Parameterisation.FLOW

    @property
    def _clip(self) -> Sequence[Reader]:
        return self.readers[:2]

    @property
    def _t5(self) -> Sequence[Reader]:
        """The T5 encoder, one or none."""
        return self.readers[2:]

    @cached_property
    def _alike(self) -> bool:
        """Whether CLIP's encoders are given the same tokens, which are made once then."""
        first, second = ((r.limit, _made_by(r.tokenizer)) for r in self._clip)
        return first == second

    def _require_widths(self) -> None:
        config, clip = self.denoiser.config, [r.encoder.config for r in self._clip]
        wide = sum(of.hidden_size for of in clip)
        if wide > config.joint_attention_dim:  # what is less is filled up with zeros
            require_widths(wide, config.joint_attention_dim, "CLIP's states against the network's")
        require_widths(
            sum(of.projection_dim for of in clip),
            config.pooled_projection_dim,
            "the pooled prompt against the network's pooled_projection_dim",
        )
        for reader in self._t5:
            require_widths(
                reader.encoder.config.d_model,
                config.joint_attention_dim,
                "T5's states against the network's joint_attention_dim",
            )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> PooledConditioning:
        states, pooled = [], []
        for i, reader in enumerate(self._clip):
            if i == 0 or not self._alike:
                ids = self.tokens(reader, prompts).input_ids
            encoded = reader.encoder(ids, output_hidden_states=True)
            states.append(encoded.hidden_states[-2])
            pooled.append(encoded.text_embeds)
        clip, width = torch.cat(states, dim=-1), self.denoiser.config.joint_attention_dim
        lacking = 0 if self._t5 else T5_TOKENS
        joined = torch.nn.functional.pad(clip, (0, width - clip.shape[-1], 0, lacking))
        for reader in self._t5:
            t5 = reader.encoder(self.tokens(reader, prompts).input_ids)[0]
            joined = torch.cat([joined, t5], dim=1)
        return PooledConditioning(
            embeddings=joined.to(self.dtype),
            pooled=torch.cat(pooled, dim=-1).to(self.dtype),
        )

    @staticmethod
    def arguments(t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        given = PooledConditioning.checked(conditioning)
        return {
            "timestep": t,
            "encoder_hidden_states": given.embeddings,
            "pooled_projections": given.pooled,
        }

    def _given(self, t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        given = self.arguments(t, conditioning)
        if self._t5 or (short := taken_once(given["encoder_hidden_states"], T5_TOKENS)) is None:
            return given
        standing = {"standing_for": T5_TOKENS}
        return given | {"encoder_hidden_states": short, "joint_attention_kwargs": standing}

    @staticmethod
    def blank(config: Mapping[str, Any]) -> PooledConditioning:
        tokens, width = TOKENS + T5_TOKENS, config["joint_attention_dim"]
        return PooledConditioning(
            embeddings=torch.randn(1, tokens, width),
            pooled=torch.randn(1, config["pooled_projection_dim"]),
        )


def _made_by(tokenizer: Any) -> dict[str, Any]:
    """Everything that a tokenizer's tokens depend on, but the length that it is asked for."""
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    asked = {"padding": tokenizer.pad_token_id, "truncation": tokenizer.truncation_side}
    return content | asked
