r"""What the bundled denoisers learn: from data and noise, an input, its timestep and a target.

The loop that trains is in ``diffusion``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from anisomem.models.schedule import stable_diffusion_ddim

TIMESTEPS = 1000


@dataclass(frozen=True)
class Task:
    """Examples of a batch.

    Attributes:
        x_t: Noised latents ``[n, C, h, w]``.
        t: Timesteps ``[n]``.
        target: What the network should say of them, ``[n, C, h, w]``.
        weight: The weight of each one's mean squared error, ``[n]``.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    weight: Tensor


Objective = Callable[[Tensor], Task]


def loss_weight(alpha_bar: Tensor, prediction_type: str) -> Tensor:
    """Weight of the squared error at each noise level.

    One for a velocity. For a noise prediction ``min(1 / alpha_bar, 30)``: the same error counts
    1 / alpha_bar times as much as a velocity, and a small model given less of it never learns
    the high noise levels, where the detectors look.
    """
    if prediction_type == "v_prediction":
        return torch.ones_like(alpha_bar)
    return (1 / alpha_bar).clamp(max=30)


def diffusion(x0: Tensor, prediction_type: str, plain: bool = False) -> Task:
    """Noise or velocity at a uniformly drawn step of Stable Diffusion's schedule.

    Arguments:
        x0: Data ``[n, C, h, w]``.
        prediction_type: As diffusers calls it.
        plain: Whether the error counts the same at each noise level.
    """
    scheduler = stable_diffusion_ddim(prediction_type)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(x0.device)
    noise = torch.randn_like(x0)
    t = torch.randint(0, TIMESTEPS, (len(x0),), device=x0.device)
    velocity = prediction_type == "v_prediction"
    target = scheduler.get_velocity(x0, noise, t) if velocity else noise
    alpha_bar = scheduler.alphas_cumprod[t]
    weight = torch.ones_like(alpha_bar) if plain else loss_weight(alpha_bar, prediction_type)
    return Task(scheduler.add_noise(x0, noise, t), t, target, weight)


def flow(x0: Tensor) -> Task:
    r"""Rectified flow: :math:`\varepsilon - x_0` at a logit-normal time, as Stable Diffusion 3.

    Esser et al., ICML 2024, section 3.1 (location 0, scale 1).
    """
    noise = torch.randn_like(x0)
    sigma = torch.randn(len(x0), device=x0.device).sigmoid()
    share = sigma[:, None, None, None]
    x_t = (1 - share) * x0 + share * noise
    return Task(x_t, TIMESTEPS * sigma, noise - x0, torch.ones_like(sigma))


epsilon: Objective = partial(diffusion, prediction_type="epsilon")
velocity: Objective = partial(diffusion, prediction_type="v_prediction")
