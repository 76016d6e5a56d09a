"""Stable Diffusion XL: two text encoders, and a U-Net that is also told size and pooled prompt."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models.agreement import require_widths
from anisomem.models.base import Conditioning
from anisomem.models.diffusers_unet import DiffusersUNet


class StableDiffusionXL(DiffusersUNet):
    """Stable Diffusion XL's base model, at its own resolution without cropping.

    The conditioning of "" is what guidance starts from: zeros where the pipeline's configuration
    says ``force_zeros_for_empty_prompt``, the encoded empty prompt elsewhere.
    Podell et al., ICLR 2024.
    """

    pipeline_class = StableDiffusionXLPipeline
    encoder_names = ("text_encoder", "text_encoder_2")
    pooled_names = ("text_encoder_2",)
    inputs: ClassVar[Sequence[str]] = (*DiffusersUNet.inputs, "text_time")
    saved_as: ClassVar[Sequence[str]] = (
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    )

    def __init__(self, pipeline: DiffusionPipeline, stands_for: str | None = None) -> None:
        super().__init__(pipeline, stands_for)
        if not self.decodes:
            raise UserError("the pipeline has no vae, whose scale says the size that it is told")
        if self.dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)  # its activations exceed float16
        size = [pipeline.vae_scale_factor * side for side in self.latent_shape[1:]]
        self._time_ids = torch.tensor([[*size, 0, 0, *size]])  # original, crop, target

    def _require_widths(self) -> None:
        config, encoders = self.denoiser.config, [r.encoder.config for r in self.readers]
        require_widths(
            sum(encoder.hidden_size for encoder in encoders),
            config.cross_attention_dim,
            "the text encoders' states against the U-Net's cross_attention_dim",
        )
        # Six numbers say sizes and crop; a refiner has another five.
        require_widths(
            encoders[1].projection_dim + 6 * (config.addition_time_embed_dim or 0),
            config.projection_class_embeddings_input_dim,
            "the pooled prompt, sizes and crop against projection_class_embeddings_input_dim",
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        states = []
        for encoder, (tokenizer, _) in zip(self.text_encoders, self._limits(), strict=True):
            tokens = self.tokens(tokenizer, prompts)
            encoded = encoder(tokens.input_ids, output_hidden_states=True)
            ends = self._ends(tokenizer, tokens)  # the same for both
            states.append(encoded.hidden_states[-2])
        embeddings, pooled = torch.cat(states, dim=-1), encoded.text_embeds
        if self.pipeline.config.force_zeros_for_empty_prompt:
            empty = torch.tensor([not prompt for prompt in prompts], device=self.device)
            embeddings = embeddings.masked_fill(empty[:, None, None], 0)
            pooled = pooled.masked_fill(empty[:, None], 0)
        return Conditioning(
            {
                "embeddings": embeddings.to(self.dtype),
                "end": ends,
                "pooled": pooled.to(self.dtype),
                "time_ids": self._time_ids.to(self.device, self.dtype).expand(len(prompts), -1),
            }
        )

    def _limits(self) -> list[tuple[Any, int]]:
        tokenizers = (self.pipeline.tokenizer, self.pipeline.tokenizer_2)
        return [(tokenizer, tokenizer.model_max_length) for tokenizer in tokenizers]

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        given = conditioning.tensors
        output: Tensor = self.denoiser(
            x.to(self.device, self.dtype),
            t.to(self.device),
            encoder_hidden_states=given["embeddings"],
            added_cond_kwargs={"text_embeds": given["pooled"], "time_ids": given["time_ids"]},
            return_dict=False,
        )[0]
        return output
