"""Text-to-image pipelines of diffusers with one text encoder and a U-Net (SD v1, SD v2)."""

from collections.abc import Sequence

import torch
from diffusers import SchedulerMixin, StableDiffusionPipeline
from torch import Tensor

from anisomem.errors import one_of
from anisomem.models.base import Conditioning, Parameterisation
from anisomem.models.pretrained import PipelineModel
from anisomem.models.schedule import DDIMSchedule

PREDICTED = ("epsilon", "v_prediction", "sample")


class DiffusersUNet(PipelineModel):
    """Stable Diffusion v1 and v2.

    Any channel count, resolution and noise schedule; epsilon, velocity or sample prediction as
    the scheduler's configuration says. The timesteps are DDIM's on that configuration.
    """

    pipeline_class = StableDiffusionPipeline

    def _read_scheduler(self, scheduler: SchedulerMixin) -> None:
        self.schedule = DDIMSchedule.following(scheduler)
        predicted = scheduler.config.get("prediction_type", "epsilon")
        one_of("prediction_type of a U-Net's scheduler", predicted, PREDICTED)
        self.parameterisation = Parameterisation(predicted)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        tokens = self.tokens(self.pipeline.tokenizer, prompts)
        encoder = self.pipeline.text_encoder
        uses_mask = getattr(encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask if uses_mask else None
        states = encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return Conditioning({"embeddings": states.to(self.dtype)})

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output: Tensor = self.denoiser(
            x.to(self.device, self.dtype),
            t.to(self.device),
            encoder_hidden_states=conditioning.tensors["embeddings"],
            return_dict=False,
        )[0]
        return output
