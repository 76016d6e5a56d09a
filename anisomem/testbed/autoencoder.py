"""The bundled model's autoencoder: 32 x 32 px pictures to 4 x 8 x 8 latents."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tqdm import tqdm

from anisomem.testbed import checkpoint
from anisomem.testbed.pictures import SIZE

KL_WEIGHT = 1e-6  # as Stable Diffusion's: keeps the latents bounded, no more


def build() -> AutoencoderKL:
    """A 0.9 M parameter autoencoder with Stable Diffusion's block types and 4 latent channels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 ``[n, H, W, 3]`` to float ``[n, 3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(
    pictures: np.ndarray, state_file: Path, steps: int, batch_size: int = 32, rate: float = 2e-3
) -> AutoencoderKL:
    """Minimises squared plus absolute error and a faint KL term; resumes from ``state_file``.

    Arguments:
        pictures: Training pictures, uint8 ``[n, 32, 32, 3]``.
        state_file: Where the loop state is kept.
        steps: Optimiser steps in all; the learning rate decays to zero over them.
    """
    torch.manual_seed(0)
    vae = build().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda i: min(1, (i + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1, i / steps))),
    )
    parts = {"vae": vae, "optimiser": optimiser, "schedule": schedule}
    begin = 0
    if state := checkpoint.load(state_file):
        begin = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    bar = tqdm(range(begin, steps), initial=begin, total=steps, desc="autoencoder", mininterval=20)
    for step in bar:
        draw = np.random.default_rng((1, step)).integers(0, len(pictures), batch_size)
        x = to_tensor(pictures[draw]).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        y = y.float()
        squared = F.mse_loss(y, x)
        loss = squared + 0.5 * F.l1_loss(y, x) + KL_WEIGHT * posterior.kl().float().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if (step + 1) % 250 == 0:
            bar.set_postfix(rmse=f"{squared.item() ** 0.5:.3f}")
            checkpoint.save(
                state_file,
                {"step": step + 1} | {name: part.state_dict() for name, part in parts.items()},
            )
    return vae.eval()
