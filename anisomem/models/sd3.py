"""Stable Diffusion 3: three text encoders and a transformer trained by flow matching."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
    StableDiffusion3Pipeline,
)
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models.base import Conditioning, Parameterisation
from anisomem.models.pretrained import PipelineModel
from anisomem.models.schedule import FlowSchedule

T5_TOKENS = 256  # the pipeline's own limit


class StableDiffusion3(PipelineModel):
    """Stable Diffusion 3 and 3.5.

    The T5 encoder may be absent; its states are zeros then. Esser et al., ICML 2024.
    """

    pipeline_class = StableDiffusion3Pipeline
    denoiser_name = "transformer"
    encoder_names = ("text_encoder", "text_encoder_2")

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        config = scheduler.config
        if "shift" not in config or config["use_dynamic_shifting"]:
            raise UserError(
                f"the pipeline's {type(scheduler).__name__} is no flow matching of fixed shift;"
                " expected a FlowMatchEulerDiscreteScheduler with use_dynamic_shifting=false"
            )
        self.schedule = FlowSchedule(FlowMatchEulerDiscreteScheduler.from_config(config))
        self.parameterisation = Parameterisation.FLOW

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        pipeline, states, pooled = self.pipeline, [], []
        limit = pipeline.tokenizer.model_max_length
        for encoder, tokenizer in (
            (pipeline.text_encoder, pipeline.tokenizer),
            (pipeline.text_encoder_2, pipeline.tokenizer_2),
        ):
            ids = self.tokens(tokenizer, prompts, limit).input_ids
            encoded = encoder(ids, output_hidden_states=True)
            states.append(encoded.hidden_states[-2])
            pooled.append(encoded.text_embeds)
        clip, width = torch.cat(states, dim=-1), self.denoiser.config.joint_attention_dim
        clip = torch.nn.functional.pad(clip, (0, width - clip.shape[-1]))
        if pipeline.text_encoder_3 is None:
            t5 = clip.new_zeros(len(prompts), T5_TOKENS, width)
        else:
            ids = self.tokens(pipeline.tokenizer_3, prompts, T5_TOKENS).input_ids
            t5 = pipeline.text_encoder_3(ids)[0]
        return Conditioning(
            {
                "embeddings": torch.cat([clip, t5], dim=1).to(self.dtype),
                "pooled": torch.cat(pooled, dim=-1).to(self.dtype),
            }
        )

    def _limits(self) -> list[tuple[Any, int]]:
        pipeline = self.pipeline
        limit = pipeline.tokenizer.model_max_length
        limits = [(pipeline.tokenizer, limit), (pipeline.tokenizer_2, limit)]
        if pipeline.text_encoder_3 is not None:
            limits.append((pipeline.tokenizer_3, T5_TOKENS))
        return limits

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output: Tensor = self.denoiser(
            hidden_states=x.to(self.device, self.dtype),
            timestep=t.to(self.device),
            encoder_hidden_states=conditioning.tensors["embeddings"],
            pooled_projections=conditioning.tensors["pooled"],
            return_dict=False,
        )[0]
        return output
