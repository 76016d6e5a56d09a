"""Text-to-image pipelines of diffusers with one text encoder and a U-Net (SD v1, SD v2).

What families share is in ``pipeline``; the attention of a U-Net is in ``unet_attention``, the
activations that are read in ``unet_activation``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers import SchedulerMixin, StableDiffusionPipeline
from torch import Tensor

from anisomem.models.agreement import require_widths
from anisomem.models.attention import Attention, Edit
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.layout import Layout
from anisomem.models.pipeline import PipelineModel
from anisomem.models.prediction import Parameterisation, Prediction
from anisomem.models.schedule import DDIMSchedule
from anisomem.models.unet_activation import pooling
from anisomem.models.unet_attention import AttentionRecorder, editing, recording
from anisomem.models.vocabulary import TOKENS


class DiffusersUNet(PipelineModel):
    """Stable Diffusion v1 and v2.

    Any channel count, resolution and noise schedule; epsilon, velocity or sample prediction as
    the scheduler's configuration says. Timesteps and steps are DDIM's on that configuration.
    """

    layout = Layout(
        StableDiffusionPipeline,
        saved_as=(
            "StableDiffusionAttendAndExcitePipeline",
            "StableDiffusionControlNetPipeline",
            "StableDiffusionDepth2ImgPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionInpaintPipelineLegacy",
            "StableDiffusionInstructPix2PixPipeline",
            "StableDiffusionPanoramaPipeline",
            "StableDiffusionSAGPipeline",
            "LatentConsistencyModelPipeline",
        ),
        inputs=("text_proj",),  # the prompt's states, projected
    )
    declares = PipelineModel.declares | {
        Capability.ATTENTION,
        Capability.EDITING,
        Capability.EMBEDDINGS,
        Capability.END,
        Capability.REPRESENTATION,
        Capability.SIZES,
    }

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        self.schedule = schedule = DDIMSchedule.following(scheduler)
        self.parameterisation = Parameterisation(schedule.scheduler.config.prediction_type)

    def _require_widths(self) -> None:
        config, (reader,) = self.denoiser.config, self.readers
        require_widths(
            reader.encoder.config.hidden_size,
            config.get("encoder_hid_dim") or config.cross_attention_dim,
            "the text encoder's states against the U-Net's cross_attention_dim",
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        (reader,) = self.readers
        tokens = self.tokens(reader, prompts)
        uses_mask = getattr(reader.encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask if uses_mask else None
        states = reader.encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return Conditioning(
            embeddings=states.to(self.dtype), end=self._ends(reader.tokenizer, tokens)
        )

    @staticmethod
    def _ends(tokenizer: Any, tokens: Any) -> Tensor:
        """The index of every prompt's end-of-text token, with which some tokenizers also pad."""
        ends: Tensor = (tokens.input_ids == tokenizer.eos_token_id).int().argmax(dim=1)
        return ends

    @staticmethod
    def arguments(t: Tensor, conditioning: Conditioning) -> dict[str, Any]:
        return {"timestep": t, "encoder_hidden_states": conditioning.embeddings}

    @staticmethod
    def blank(config: Mapping[str, Any]) -> Conditioning:
        width = config["cross_attention_dim"]
        return Conditioning(embeddings=torch.randn(1, TOKENS, width))

    def attend(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, first: int = 0
    ) -> tuple[Prediction, Attention]:
        end = conditioning.required_end()
        recorder = AttentionRecorder(slice(first, None), end, self.latent_shape[1:])
        with recording(self.denoiser, recorder):
            prediction = self.predict(x, t, conditioning)
        return prediction, recorder.attention()

    def represent(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning
    ) -> tuple[Prediction, Tensor]:
        with pooling(self.denoiser) as pooled:
            prediction = self.predict(x, t, conditioning)
        return prediction, torch.stack(pooled, dim=1)

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        return editing(self.denoiser, edit)
