"""Stable Diffusion XL: two text encoders, and a U-Net that is also told size and pooled prompt.

What it shares with other U-Nets is in ``diffusers_unet``, and what all families share in
``pipeline``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models.agreement import require_widths
from anisomem.models.conditioning import Conditioning
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.layout import Layout, TextEncoder
from anisomem.models.vocabulary import TOKENS

SIZES = 6  # numbers that say original size, crop and target size; a refiner has another five


@dataclass(frozen=True, kw_only=True, eq=False)
class SizedConditioning(Conditioning):
    """Prompts as Stable Diffusion XL reads them.

    Attributes:
        pooled: State of the prompt as a whole, ``[n, width]``.
        time_ids: Original height and width, crop, and target height and width, ``[n, 6]``.
    """

    pooled: Tensor
    time_ids: Tensor


class StableDiffusionXL(DiffusersUNet):
    """Stable Diffusion XL's base model, at its own resolution without cropping.

    The conditioning of "" is what guidance starts from: zeros where the pipeline's configuration
    says ``force_zeros_for_empty_prompt``, the encoded empty prompt elsewhere.
    Podell et al., ICLR 2024.
    """

    layout = Layout(
        StableDiffusionXLPipeline,
        saved_as=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
        encoders=(TextEncoder("text_encoder"), TextEncoder("text_encoder_2", pooled=True)),
        inputs=(*DiffusersUNet.layout.inputs, "text_time"),
    )

    def __init__(self, pipeline: DiffusionPipeline, stands_for: str | None = None) -> None:
        super().__init__(pipeline, stands_for)
        if pipeline.vae is None:
            raise UserError("the pipeline has no vae, whose scale says the size that it is told")
        if self.dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)  # its activations exceed float16
        self._time_ids = torch.tensor([[*self.picture_size, 0, 0, *self.picture_size]])

    def _require_widths(self) -> None:
        config, encoders = self.denoiser.config, [r.encoder.config for r in self.readers]
        require_widths(
            sum(encoder.hidden_size for encoder in encoders),
            config.cross_attention_dim,
            "the text encoders' states against the U-Net's cross_attention_dim",
        )
        require_widths(
            encoders[1].projection_dim + SIZES * (config.addition_time_embed_dim or 0),
            config.projection_class_embeddings_input_dim,
            "the pooled prompt, sizes and crop against projection_class_embeddings_input_dim",
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> SizedConditioning:
        states = []
        for reader in self.readers:
            tokens = self.tokens(reader, prompts)
            encoded = reader.encoder(tokens.input_ids, output_hidden_states=True)
            ends = self._ends(reader.tokenizer, tokens)  # the same for both
            states.append(encoded.hidden_states[-2])
        embeddings, pooled = torch.cat(states, dim=-1), encoded.text_embeds
        if self.pipeline.config.force_zeros_for_empty_prompt:
            empty = torch.tensor([not prompt for prompt in prompts], device=self.device)
            embeddings = embeddings.masked_fill(empty[:, None, None], 0)
            pooled = pooled.masked_fill(empty[:, None], 0)
        return SizedConditioning(
            embeddings=embeddings.to(self.dtype),
            end=ends,
            pooled=pooled.to(self.dtype),
            time_ids=self._time_ids.to(self.device, self.dtype).expand(len(prompts), -1),
        )

    @staticmethod
    def arguments(t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        given = SizedConditioning.checked(conditioning)
        return {
            "timestep": t,
            "encoder_hidden_states": given.embeddings,
            "added_cond_kwargs": {"text_embeds": given.pooled, "time_ids": given.time_ids},
        }

    @staticmethod
    def blank(config: Mapping[str, Any]) -> SizedConditioning:
        sizes = SIZES * config["addition_time_embed_dim"]
        return SizedConditioning(
            embeddings=torch.randn(1, TOKENS, config["cross_attention_dim"]),
            pooled=torch.randn(1, config["projection_class_embeddings_input_dim"] - sizes),
            time_ids=torch.ones(1, SIZES),
        )
