"""The bundled models' denoisers with their text encoders, which are trained together.

Text encoders and the tokenizer are built in ``text``; training is in ``diffusion``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from anisomem.models.joint_attention import JointAttention
from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.models.sd3 import T5_TOKENS
from anisomem.testbed.autoencoder import BUNDLED
from anisomem.testbed.objectives import TIMESTEPS
from anisomem.testbed.text import WIDTH, build_encoder, build_projecting_encoder


class Denoiser(nn.Module, ABC):
    """A network that reads noised latents, timesteps and tokens."""

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """The network's output ``[n, C, h, w]``.

        Arguments:
            x_t: ``[n, C, h, w]``.
            t: ``[n]``.
            tokens: ``[n, length]``.
        """

    @abstractmethod
    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> DiffusionPipeline:
        """The ordinary pipeline around the trained parts, the large ones in float16."""


Build = Callable[[CLIPTokenizer], Denoiser]


class UNet(Denoiser):
    """A U-Net laid out as Stable Diffusion's, with one level less, and a CLIP text model.

    Arguments:
        tokenizer: Its text encoder reads this one's tokens.
        side: The side of the latents.
        widths: Channels of the three levels.
        heads: How many heads the attention has; one number as in SD v1.4, or one a level as in
            v2.0.
        prediction_type: The prediction type of the scheduler.
        start: A bundled model whose U-Net it begins with; it works on latents of any size.
        text: A bundled model whose text encoder it begins with, of the same tokens.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        side: int,
        widths: tuple[int, int, int],
        heads: int | tuple[int, ...],
        prediction_type: str,
        start: str | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__()
        self.prediction_type = prediction_type
        self.unet = UNet2DConditionModel(
            sample_size=side,
            block_out_channels=widths,
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=heads,
            cross_attention_dim=WIDTH,
            norm_num_groups=8,
        )
        self.text = build_encoder(tokenizer)
        if start:
            begun = UNet2DConditionModel.from_pretrained(BUNDLED / start, subfolder="unet")
            self.unet.load_state_dict(begun.state_dict())
        if text:
            encoder = CLIPTextModelWithProjection.from_pretrained(BUNDLED / text / "text_encoder")
            self.text.load_state_dict(encoder.text_model.state_dict())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        text = self.text(tokens).last_hidden_state
        x_t = x_t.to(memory_format=torch.channels_last)
        predicted: Tensor = self.unet(x_t, t, encoder_hidden_states=text).sample
        return predicted

    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> DiffusionPipeline:
        return StableDiffusionPipeline(
            vae=vae.half(),
            text_encoder=self.text.eval(),
            tokenizer=tokenizer,
            unet=self.unet.half().to(memory_format=torch.contiguous_format),
            scheduler=stable_diffusion_ddim(self.prediction_type),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


class MMDiT(Denoiser):
    """The transformer of Stable Diffusion 3 with two CLIP text models and no T5.

    The pipeline pads the missing T5 states with :data:`T5_TOKENS` zeros. They have no position, so
    they stay equal to each other through all blocks, and one of them that counts as many times in
    the attention gives the same output: what is trained here is exactly what the pipeline runs.

    Arguments:
        tokenizer: Both text encoders read its tokens.
        side: The side of the latents.
        layers: Joint blocks.
        heads: How many heads the attention has.
        head_width: Channels of each.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, side: int, layers: int, heads: int, head_width: int
    ) -> None:
        super().__init__()
        self.transformer = SD3Transformer2DModel(
            sample_size=side,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=layers,
            num_attention_heads=heads,
            attention_head_dim=head_width,
            caption_projection_dim=heads * head_width,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=side // 2,
            qk_norm="rms_norm",
        )
        # Blocks begin as identities, as in DiT.
        for block in self.transformer.transformer_blocks:
            for norm in (block.norm1, block.norm1_context):
                nn.init.zeros_(norm.linear.weight)
                nn.init.zeros_(norm.linear.bias)
        nn.init.zeros_(self.transformer.proj_out.weight)
        self.transformer.set_attn_processor(JointAttention())
        self.text = build_projecting_encoder(tokenizer)
        self.text_2 = build_projecting_encoder(tokenizer)

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        encoded = [e(tokens, output_hidden_states=True) for e in (self.text, self.text_2)]
        states = torch.cat([e.hidden_states[-2] for e in encoded], dim=-1)
        pooled = torch.cat([e.text_embeds for e in encoded], dim=-1)
        padded = F.pad(states, (0, 0, 0, 1))
        standing = {"standing_for": T5_TOKENS}
        predicted: Tensor = self.transformer(
            x_t, padded, pooled, t, joint_attention_kwargs=standing
        ).sample
        return predicted

    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> DiffusionPipeline:
        self.transformer.set_attn_processor(JointAttnProcessor2_0())
        vae.register_to_config(shift_factor=0.0)
        return StableDiffusion3Pipeline(
            transformer=self.transformer.half(),
            scheduler=FlowMatchEulerDiscreteScheduler(TIMESTEPS, shift=1.0),
            vae=vae.half(),
            text_encoder=self.text.eval(),
            tokenizer=tokenizer,
            text_encoder_2=self.text_2.eval(),
            tokenizer_2=tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )
