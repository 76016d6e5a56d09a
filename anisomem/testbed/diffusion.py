"""The bundled model's denoiser: Stable Diffusion's classes and schedule at a small size."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.testbed import checkpoint
from anisomem.testbed.text import WIDTH, build_encoder

LATENT_SIZE = 8
DROPOUT = 0.1  # share of captions replaced by "", which guidance needs
EMA = 0.999


@dataclass(frozen=True)
class Variant:
    """What distinguishes the two bundled models; heads follow SD v1.4 (equal) and v2.0 (not)."""

    prediction_type: str
    heads: int | tuple[int, ...]
    seed: int


VARIANTS = {
    "epsilon": Variant("epsilon", 2, 10),
    "velocity": Variant("v_prediction", (1, 2, 4), 20),
}


def build_unet(variant: Variant) -> UNet2DConditionModel:
    """A 3.8 M parameter U-Net laid out as Stable Diffusion's, with one level less."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        block_out_channels=(32, 64, 112),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=variant.heads,
        cross_attention_dim=WIDTH,
        norm_num_groups=8,
    )


@dataclass(frozen=True)
class Latents:
    """The encoded training set.

    Arguments:
        mean, std: Of every distinct picture's posterior, ``[p, 4, 8, 8]``, unit variance overall.
        tokens: Of every caption, ``[e, 20]``.
        examples: One row per training example, (caption, picture), ``[N, 2]``; a picture that is
            repeated 100 times has 100 rows.
    """

    mean: torch.Tensor
    std: torch.Tensor
    tokens: torch.Tensor
    examples: np.ndarray


def loss_weight(alpha_bar: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """Weight of the squared error at each noise level.

    One for a velocity. For a noise prediction ``min(1 / alpha_bar, 30)``: the same error counts
    1 / alpha_bar times as much as a velocity, and a small model given less of it never learns
    the high noise levels, where the detectors look.
    """
    if prediction_type == "v_prediction":
        return torch.ones_like(alpha_bar)
    return (1 / alpha_bar).clamp(max=30)


def train(
    data: Latents,
    tokenizer: CLIPTokenizer,
    variant: Variant,
    state_file: Path,
    steps: int,
    batch_size: int = 64,
    rate: float = 1.5e-3,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Trains U-Net and text encoder together and returns their moving averages.

    Resumes from ``state_file``. Examples pass in epochs, each shuffled by a generator of its own,
    so a resumed training sees what an uninterrupted one would.
    """
    torch.manual_seed(variant.seed)
    models = torch.nn.ModuleDict({"unet": build_unet(variant), "text": build_encoder(tokenizer)})
    models.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(models, multi_avg_fn=get_ema_multi_avg_fn(EMA))  # type: ignore[no-untyped-call]
    optimiser = torch.optim.AdamW(models.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda i: min(1, (i + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(1, i / steps))),
    )
    parts: dict[str, Any] = {
        "models": models,
        "average": average,
        "optimiser": optimiser,
        "schedule": schedule,
    }
    begin = 0
    if state := checkpoint.load(state_file):
        begin = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    scheduler = stable_diffusion_ddim(variant.prediction_type)
    alphas_cumprod = scheduler.alphas_cumprod
    empty = tokenizer("", padding="max_length", return_tensors="pt").input_ids[0]
    per_epoch = len(data.examples) // batch_size
    losses: list[float] = []
    bar = tqdm(range(begin, steps), initial=begin, total=steps, desc="denoiser", mininterval=30)
    for step in bar:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng((3, variant.seed, epoch)).permutation(len(data.examples))
        rows = data.examples[order[position * batch_size : (position + 1) * batch_size]]
        torch.manual_seed(variant.seed * 10_000_000 + step)

        mean, std = data.mean[rows[:, 1]], data.std[rows[:, 1]]
        x0 = mean + std * torch.randn_like(mean)
        noise = torch.randn_like(x0)
        t = torch.randint(0, scheduler.config.num_train_timesteps, (batch_size,))
        x_t = scheduler.add_noise(x0, noise, t).to(memory_format=torch.channels_last)
        tokens = torch.where(torch.rand(batch_size, 1) < DROPOUT, empty, data.tokens[rows[:, 0]])

        text = models["text"](tokens).last_hidden_state
        prediction = models["unet"](x_t, t, encoder_hidden_states=text).sample
        velocity = variant.prediction_type == "v_prediction"
        target = scheduler.get_velocity(x0, noise, t) if velocity else noise
        error = (prediction - target).square().mean(dim=(1, 2, 3))
        loss = (loss_weight(alphas_cumprod[t], variant.prediction_type) * error).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

        average.update_parameters(models)
        losses.append(loss.item())
        if (step + 1) % 250 == 0 or step + 1 == steps:
            tqdm.write(f"step {step + 1}: loss {np.mean(losses[-250:]):.4f}")
            checkpoint.save(
                state_file,
                {"step": step + 1} | {name: part.state_dict() for name, part in parts.items()},
            )
    slow: Any = average.module
    return slow["unet"], slow["text"]
