"""Stable Diffusion 3: three text encoders and a transformer trained by flow matching."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import SchedulerMixin, StableDiffusion3Pipeline
from torch import Tensor

from anisomem.models.agreement import require_widths
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
    encoder_names = pooled_names = ("text_encoder", "text_encoder_2")
    saved_as: ClassVar[Sequence[str]] = (
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
    )

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        self.schedule = FlowSchedule.following(scheduler)
        self.parameterisation = Parameterisation.FLOW

    def _require_widths(self) -> None:
        config, pipeline = self.denoiser.config, self.pipeline
        clip = (pipeline.text_encoder.config, pipeline.text_encoder_2.config)
        wide = sum(of.hidden_size for of in clip)
        if wide > config.joint_attention_dim:  # what is less is filled up with zeros
            require_widths(wide, config.joint_attention_dim, "CLIP's states against the network's")
        require_widths(
            sum(of.projection_dim for of in clip),
            config.pooled_projection_dim,
            "the pooled prompt against the network's pooled_projection_dim",
        )
        if pipeline.text_encoder_3 is not None:
            require_widths(
                pipeline.text_encoder_3.config.d_model,
                config.joint_attention_dim,
                "T5's states against the network's joint_attention_dim",
            )

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
