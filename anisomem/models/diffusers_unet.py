"""Text-to-image pipelines of diffusers with one text encoder and a U-Net (SD v1, SD v2)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from diffusers import SchedulerMixin, StableDiffusionPipeline
from torch import Tensor

from anisomem.models.agreement import require_widths
from anisomem.models.attention import Edit, Recorder, editing, recording
from anisomem.models.base import Attention, Conditioning, Parameterisation, Prediction
from anisomem.models.pretrained import PipelineModel
from anisomem.models.schedule import DDIMSchedule


class DiffusersUNet(PipelineModel):
    """Stable Diffusion v1 and v2.

    Any channel count, resolution and noise schedule; epsilon, velocity or sample prediction as
    the scheduler's configuration says. Timesteps and steps are DDIM's on that configuration.
    """

    pipeline_class = StableDiffusionPipeline
    inputs: ClassVar[Sequence[str]] = ("text_proj",)  # the prompt's states, projected
    saved_as: ClassVar[Sequence[str]] = (
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
    )

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        self.schedule = schedule = DDIMSchedule.following(scheduler)
        self.parameterisation = Parameterisation(schedule.scheduler.config.prediction_type)

    def _require_widths(self) -> None:
        config = self.denoiser.config
        require_widths(
            self.pipeline.text_encoder.config.hidden_size,
            config.get("encoder_hid_dim") or config.cross_attention_dim,
            "the text encoder's states against the U-Net's cross_attention_dim",
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        tokens = self.tokens(self.pipeline.tokenizer, prompts)
        encoder = self.pipeline.text_encoder
        uses_mask = getattr(encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask if uses_mask else None
        states = encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        ends = self._ends(self.pipeline.tokenizer, tokens)
        return Conditioning({"embeddings": states.to(self.dtype), "end": ends})

    def attend(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, first: int = 0
    ) -> tuple[Prediction, Attention]:
        end = conditioning.tensors["end"]
        recorder = Recorder(slice(first, None), end, self.latent_shape[1:])
        with recording(self.denoiser, recorder):
            prediction = self.predict(x, t, conditioning)
        return prediction, recorder.attention()

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        return editing(self.denoiser, edit)

    @staticmethod
    def _ends(tokenizer: Any, tokens: Any) -> Tensor:
        """The index of every prompt's end-of-text token, with which some tokenizers also pad."""
        found: Tensor = (tokens.input_ids == tokenizer.eos_token_id).int().argmax(dim=1)
        return found

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output: Tensor = self.denoiser(
            x.to(self.device, self.dtype),
            t.to(self.device),
            encoder_hidden_states=conditioning.tensors["embeddings"],
            return_dict=False,
        )[0]
        return output
