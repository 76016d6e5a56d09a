r"""Noise schedules: which timesteps a model has, and how much signal and noise each leaves.

A noised latent is :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`.
"""

from abc import ABC, abstractmethod

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from torch import Tensor

from anisomem.errors import UserError


class Schedule(ABC):
    """The timesteps of a model and their scales."""

    @abstractmethod
    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\alpha_t` and :math:`\sigma_t` in float64, for timesteps ``[n]``."""

    @property
    @abstractmethod
    def final_scales(self) -> tuple[Tensor, Tensor]:
        """Scales of the latents that a trajectory's last step arrives at, float64 ``[1]``."""

    @abstractmethod
    def timesteps(self, num_steps: int) -> list[float]:
        """The timesteps of a trajectory, from noise to data."""

    @abstractmethod
    def require(self, t: float) -> None:
        """Checks a timestep that a user gives.

        Raises:
            UserError: Outside the schedule.
        """


class DDIMSchedule(Schedule):
    r"""Variance-preserving: :math:`\alpha_t^2 = \bar\alpha_t = 1 - \sigma_t^2`.

    Timesteps are the integers from 0 (data) to one less than ``num_train_timesteps`` (noise).
    Song et al., ICLR 2021.
    """

    def __init__(self, scheduler: DDIMScheduler) -> None:
        self.scheduler = scheduler
        self.alphas_cumprod = scheduler.alphas_cumprod.double()

    @classmethod
    def following(cls, sampler: SchedulerMixin) -> "DDIMSchedule":
        """DDIM with leading spacing on the betas of any sampler.

        Samplers of other kinds are saved with other spacings; the detectors' steps are DDIM's.

        Raises:
            UserError: A sampler that has no betas.
        """
        if "beta_schedule" not in sampler.config:
            raise UserError(
                f"the pipeline's {type(sampler).__name__} has no betas for DDIM to follow;"
                " expected the scheduler of a variance-preserving model, such as DDIMScheduler"
            )
        return cls(DDIMScheduler.from_config(sampler.config, timestep_spacing="leading"))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return _variance_preserving(self.alphas_cumprod[t.cpu()])

    @property
    def final_scales(self) -> tuple[Tensor, Tensor]:
        return _variance_preserving(self.scheduler.final_alpha_cumprod.double()[None])

    def timesteps(self, num_steps: int) -> list[float]:
        self.scheduler.set_timesteps(num_steps)
        return [int(t) for t in self.scheduler.timesteps]

    def require(self, t: float) -> None:
        last = self.scheduler.config.num_train_timesteps - 1
        if not (0 <= t <= last and t == int(t)):
            raise UserError(
                f"timestep {t} is outside the schedule, which has 0 to {last} (integers)"
            )


class FlowSchedule(Schedule):
    r"""Flow matching: :math:`\alpha_t = 1 - \sigma_t`, :math:`\sigma_t = t / T`.

    Timesteps are real numbers above 0 (data) up to T (noise), the scheduler's
    ``num_train_timesteps``; its shift moves those of a trajectory, not their meaning.
    Esser et al., ICML 2024.
    """

    def __init__(self, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        self.scheduler = scheduler

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = t.cpu().double() / self.scheduler.config.num_train_timesteps
        return 1 - sigma, sigma

    @property
    def final_scales(self) -> tuple[Tensor, Tensor]:
        return self.scales(torch.zeros(1))

    def timesteps(self, num_steps: int) -> list[float]:
        self.scheduler.set_timesteps(num_steps)
        return [float(t) for t in self.scheduler.timesteps]

    def require(self, t: float) -> None:
        most = self.scheduler.config.num_train_timesteps
        if not 0 < t <= most:
            raise UserError(
                f"timestep {t} is outside the schedule, which has numbers above 0 and up to {most}"
            )


def stable_diffusion_ddim(prediction_type: str = "epsilon") -> DDIMScheduler:
    """DDIM with the schedule and settings of Stable Diffusion's own configuration.

    Scaled-linear betas from 0.00085 to 0.012 over 1,000 steps, leading spacing offset by one: 50
    steps visit t = 981, 961, ..., 41, 21, 1.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def _variance_preserving(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
