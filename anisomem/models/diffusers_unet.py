"""Text-to-image pipelines of diffusers with one text encoder and a U-Net (SD v1, SD v2)."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from anisomem.errors import UserError, one_of
from anisomem.models.base import Conditioning, DiffusionModel, Parameterisation


class DiffusersUNet(DiffusionModel):
    """A Stable Diffusion pipeline behind the common contract.

    Any channel count, resolution and noise schedule; epsilon, velocity or sample prediction as
    the scheduler's configuration says. The timesteps are DDIM's on that configuration.

    Arguments:
        pipeline: The pipeline; its U-Net, text encoder, tokenizer and autoencoder are used.
        stands_for: Key of the published model whose detector weights apply.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, stands_for: str | None = None) -> None:
        self.pipeline = pipeline
        self.unet = pipeline.unet.eval().requires_grad_(False)
        self.device, self.dtype = self.unet.device, self.unet.dtype
        # Samplers of other kinds are saved with other spacings; the detectors' steps are DDIM's.
        config = pipeline.scheduler.config
        self.scheduler = DDIMScheduler.from_config(config, timestep_spacing="leading")
        self.parameterisation = Parameterisation(self.scheduler.config.prediction_type)
        side = self.unet.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        self.latent_shape = (self.unet.config.in_channels, height, width)
        self.num_train_timesteps = self.scheduler.config.num_train_timesteps
        self.stands_for = stands_for
        self._alphas_cumprod = self.scheduler.alphas_cumprod.double()

    @classmethod
    def load(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        stands_for: str | None = None,
    ) -> "DiffusersUNet":
        """Loads a local folder or a hub repository at a pinned revision, safetensors only.

        Raises:
            UserError: An unknown dtype, a device that is not there, or no pipeline at ``path``.
        """
        one_of("dtype", dtype, ("float32", "float16", "bfloat16"))
        one_of("device", device.partition(":")[0], ("auto", "cpu", "cuda", "mps"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                path,
                revision=revision,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                safety_checker=None,
                requires_safety_checker=False,
            )
        except (OSError, ValueError) as error:  # neither a pipeline here nor a hub in reach
            raise UserError(
                f"no diffusers pipeline at {path!r} (expected a folder with model_index.json or a "
                f"hub repository): {str(error).splitlines()[0]}"
            ) from None
        try:
            pipeline = pipeline.to(device)
        except (AssertionError, RuntimeError) as error:
            raise UserError(f"device {device!r}: {str(error).splitlines()[0]}") from None
        return cls(pipeline, stands_for)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        tokens = self.pipeline.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.pipeline.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        encoder = self.pipeline.text_encoder
        uses_mask = getattr(encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(self.device) if uses_mask else None
        with torch.no_grad():
            states = encoder(tokens.input_ids.to(self.device), attention_mask=mask)
        return Conditioning({"embeddings": states.last_hidden_state.to(self.dtype)})

    def truncated(self, prompts: Sequence[str]) -> int:
        # The tokenizer warns about every long sequence it is asked to measure.
        logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
        lengths = [len(ids) for ids in self.pipeline.tokenizer(list(prompts)).input_ids]
        return sum(length > self.pipeline.tokenizer.model_max_length for length in lengths)

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self._alphas_cumprod[t.cpu()]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    @property
    def final_scales(self) -> tuple[Tensor, Tensor]:
        alpha_bar = self.scheduler.final_alpha_cumprod.double()[None]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def timesteps(self, num_steps: int = 50) -> list[int]:
        self.scheduler.set_timesteps(num_steps)
        return [int(t) for t in self.scheduler.timesteps]

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output: Tensor = self.unet(
            x.to(self.device, self.dtype),
            t.to(self.device),
            encoder_hidden_states=conditioning.tensors["embeddings"],
            return_dict=False,
        )[0]
        return output

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> np.ndarray:
        vae = self.pipeline.vae
        scaled = latents.to(self.device, self.dtype) / vae.config.scaling_factor
        images = vae.decode(scaled).sample.float()
        unit = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (unit.cpu().numpy() * 255).round().astype(np.uint8)
