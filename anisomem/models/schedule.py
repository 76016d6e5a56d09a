r"""Noise schedules: which timesteps a model has, and how much signal and noise each leaves.

A noised latent is :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from torch import Tensor

from anisomem.errors import UserError, one_of

STEPS = 50  # of the trajectories that detectors read
MOST_TIMESTEPS = 100_000  # of a schedule that a file may ask for
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "linspace", "trailing")
PREDICTED = ("epsilon", "v_prediction", "sample")

#: DDIM's settings, and what each may be.
NUMBER, WHOLE, SWITCH = (int, float), (int,), (bool,)
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
DDIM_SETTINGS: dict[str, tuple[type, ...]] = {
    "num_train_timesteps": WHOLE,
    "beta_start": NUMBER,
    "beta_end": NUMBER,
    "beta_schedule": (str,),
    "trained_betas": (list, tuple, type(None)),
    "clip_sample": SWITCH,
    "clip_sample_range": NUMBER,
    "set_alpha_to_one": SWITCH,
    "steps_offset": WHOLE,
    "prediction_type": (str,),
    "thresholding": SWITCH,
    "dynamic_thresholding_ratio": NUMBER,
    "sample_max_value": NUMBER,
    "timestep_spacing": (str,),
    "rescale_betas_zero_snr": SWITCH,
}
#: Settings of a flow-matching scheduler that move its timesteps or its step.
FLOW_SETTINGS: dict[str, tuple[type, ...]] = {
    "num_train_timesteps": WHOLE,
    "shift": NUMBER,
    "use_dynamic_shifting": SWITCH,
    "shift_terminal": (int, float, type(None)),
    "use_karras_sigmas": (bool, type(None)),
    "use_exponential_sigmas": (bool, type(None)),
    "use_beta_sigmas": (bool, type(None)),
    "invert_sigmas": SWITCH,
    "stochastic_sampling": SWITCH,
}
SETTINGS = DDIM_SETTINGS | FLOW_SETTINGS


class Schedule(ABC):
    """The timesteps of a model and their scales."""

    @abstractmethod
    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\alpha_t` and :math:`\sigma_t` in float64, for timesteps ``[n]``."""

    @property
    @abstractmethod
    def final_scales(self) -> tuple[Tensor, Tensor]:
        """Scales of the latents that a trajectory's last step arrives at, float64 ``[1]``."""

    def timesteps(self, num_steps: int) -> list[float]:
        """The timesteps of a trajectory, from noise to data."""
        if num_steps not in self._known:  # asked for by every need of every batch
            self._known[num_steps] = self._spaced(num_steps)
        return list(self._known[num_steps])

    @cached_property
    def _known(self) -> dict[int, list[float]]:
        return {}

    @abstractmethod
    def _spaced(self, num_steps: int) -> list[float]:
        """The timesteps of a trajectory, as the scheduler spaces them."""

    def targets(self, num_steps: int) -> list[tuple[Tensor, Tensor]]:
        """Scales of the latents that each step of a trajectory arrives at, float64 ``[1]``."""
        following = self.timesteps(num_steps)[1:]
        return [*(self.scales(torch.tensor([t])) for t in following), self.final_scales]

    @abstractmethod
    def noised(self, gamma: float) -> float:
        """The timestep of a share of the schedule, 0 (data) to 1 (noise)."""

    def partial(
        self, gamma: float, num_steps: int
    ) -> tuple[list[float], list[tuple[Tensor, Tensor]]]:
        """Timesteps and targets of a trajectory from a share of the schedule, evenly spaced.

        Arguments:
            gamma: The share, above 0 and at most 1.
            num_steps: How many steps lead from there to data.

        Raises:
            UserError: There are fewer timesteps than steps up to there.
        """
        steps = [self.noised(gamma * (1 - i / num_steps)) for i in range(num_steps)]
        if len(set(steps)) < num_steps or steps[-1] <= 0:
            raise UserError(
                f"gamma={gamma:g} noises to timestep {steps[0]:g}, which has fewer than "
                f"{num_steps} timesteps below it"
            )
        following = [self.scales(torch.tensor([t])) for t in steps[1:]]
        return steps, [*following, self.final_scales]

    def bounded(self, x0: Tensor) -> Tensor:
        """Predicted data ``[n, C, H, W]`` as a step of a trajectory takes it."""
        return x0

    @property
    def settings(self) -> dict[str, Any]:
        """What was taken of a scheduler's file, and of its defaults, for a card."""
        return {}

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

    Arguments:
        scheduler: Whose settings all count, as they do in its own step.

    Raises:
        UserError: A setting that makes no schedule.
    """

    def __init__(self, scheduler: DDIMScheduler) -> None:
        self.scheduler = scheduler
        self.alphas_cumprod = scheduler.alphas_cumprod.double()
        self.saved_as: str | None = None  # the kind of sampler that the settings come from
        self._require_betas()

    @classmethod
    def following(cls, sampler: SchedulerMixin) -> "DDIMSchedule":
        """DDIM with another sampler's settings, as ``DDIMScheduler.from_config`` reads them.

        So do the released codes. What the sampler's file does not say is DDIM's default: the
        predicted data are clipped, a trajectory's last step arrives at data without noise, and
        timesteps have no offset.

        Raises:
            UserError: A sampler that has no betas, or a setting that makes no schedule.
        """
        named = type(sampler).__name__
        if "beta_schedule" not in sampler.config:
            raise UserError(
                f"the pipeline's {named} has no betas for DDIM to follow;"
                " expected the scheduler of a variance-preserving model, such as DDIMScheduler"
            )
        require(named, sampler.config)
        predicted = sampler.config.get("prediction_type", "epsilon")
        one_of("prediction_type of a U-Net's scheduler", predicted, PREDICTED)
        schedule = cls(DDIMScheduler.from_config(sampler.config))
        schedule.saved_as = str(sampler.config.get("_class_name") or named)
        return schedule

    def _require_betas(self) -> None:
        config, alphas = self.scheduler.config, self.alphas_cumprod
        if not (alphas.isfinite().all() and alphas.diff().le(0).all() and 0 <= alphas[-1] < 1):
            raise UserError(
                "the scheduler's betas (beta_start, beta_end, beta_schedule or trained_betas) are"
                " no noise schedule; expected numbers between 0 and 1"
            )
        steps = self.timesteps(STEPS)
        if not 0 <= min(steps) <= max(steps) < config.num_train_timesteps:
            raise UserError(
                f"the scheduler's steps_offset={config.steps_offset} moves its {STEPS} timesteps"
                f" out of 0 to {config.num_train_timesteps - 1}"
            )
        if config.prediction_type == "epsilon" and alphas[int(steps[0])] == 0:
            raise UserError(
                f"the scheduler's rescale_betas_zero_snr and timestep_spacing leave no signal at"
                f" t = {steps[0]}, where a predicted noise says nothing of the data; expected"
                " prediction_type=v_prediction or timestep_spacing=leading"
            )
        if not config.clip_sample_range > 0 or not config.sample_max_value > 0:
            raise UserError(
                "the scheduler's clip_sample_range and sample_max_value must be above 0"
            )
        if not 0 <= config.dynamic_thresholding_ratio <= 1:
            raise UserError("the scheduler's dynamic_thresholding_ratio must be from 0 to 1")

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return _variance_preserving(self.alphas_cumprod[t.cpu()])

    @property
    def final_scales(self) -> tuple[Tensor, Tensor]:
        return _variance_preserving(self.scheduler.final_alpha_cumprod.double()[None])

    def _spaced(self, num_steps: int) -> list[float]:
        self.scheduler.set_timesteps(num_steps)
        return list(map(int, self.scheduler.timesteps.tolist()))

    def noised(self, gamma: float) -> float:
        return round(gamma * (self.scheduler.config.num_train_timesteps - 1))

    def targets(self, num_steps: int) -> list[tuple[Tensor, Tensor]]:
        # A step goes down by a whole number of timesteps, also where spacing rounds them unevenly.
        ahead = self.scheduler.config.num_train_timesteps // num_steps
        ends = [int(t) - ahead for t in self.timesteps(num_steps)]
        return [self.scales(torch.tensor([t])) if t >= 0 else self.final_scales for t in ends]

    def bounded(self, x0: Tensor) -> Tensor:
        """Clipped to plus and minus ``clip_sample_range``, or thresholded, as the settings say.

        Dynamic thresholding (Saharia et al., NeurIPS 2022) clips every row to plus and minus s, a
        quantile of its absolute values between 1 and ``sample_max_value``, and divides by s.
        """
        config = self.scheduler.config
        if config.thresholding:
            ratio = config.dynamic_thresholding_ratio
            s = torch.quantile(x0.flatten(1).abs(), ratio, dim=1)
            s = s.clamp(min=1, max=config.sample_max_value)[:, None, None, None]
            return x0.clamp(-s, s) / s
        if config.clip_sample:
            return x0.clamp(-config.clip_sample_range, config.clip_sample_range)
        return x0

    @property
    def settings(self) -> dict[str, Any]:
        config = self.scheduler.config
        taken = {name: config[name] for name in DDIM_SETTINGS if name != "trained_betas"}
        # Long, and among the weights' files.
        taken["trained_betas"] = config.trained_betas is not None
        unsaid = sorted(config.get("_use_default_values") or [])
        return {"class": "DDIMScheduler", "saved_as": self.saved_as, **taken, "defaults": unsaid}

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

    @classmethod
    def following(cls, sampler: SchedulerMixin) -> "FlowSchedule":
        """Euler's method with the settings of a flow-matching sampler.

        Raises:
            UserError: A sampler of another kind, one whose shift depends on the resolution, or
                whose steps are not deterministic ones from noise to data.
        """
        config, named = sampler.config, type(sampler).__name__
        if "shift" not in config:
            raise UserError(
                f"the pipeline's {named} is no flow matching; expected a"
                " FlowMatchEulerDiscreteScheduler"
            )
        require(named, config)
        for setting in ("use_dynamic_shifting", "invert_sigmas", "stochastic_sampling"):
            if config.get(setting):
                raise UserError(
                    f"the pipeline's {named} has {setting}=true; expected a"
                    " FlowMatchEulerDiscreteScheduler of fixed shift whose steps are deterministic"
                    " and go from noise to data"
                )
        if not config["shift"] > 0:
            raise UserError(
                f"the pipeline's {named} has shift={config['shift']}; expected above 0"
            )
        return cls(FlowMatchEulerDiscreteScheduler.from_config(config))

    @property
    def settings(self) -> dict[str, Any]:
        config = self.scheduler.config
        taken = {name: config[name] for name in FLOW_SETTINGS if name in config}
        unsaid = sorted(config.get("_use_default_values") or [])
        return {"class": "FlowMatchEulerDiscreteScheduler", **taken, "defaults": unsaid}

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = t.cpu().double() / self.scheduler.config.num_train_timesteps
        return 1 - sigma, sigma

    @property
    def final_scales(self) -> tuple[Tensor, Tensor]:
        return self.scales(torch.zeros(1))

    def _spaced(self, num_steps: int) -> list[float]:
        self.scheduler.set_timesteps(num_steps)
        return list(map(float, self.scheduler.timesteps.tolist()))

    def noised(self, gamma: float) -> float:
        return float(gamma * self.scheduler.config.num_train_timesteps)

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


def require(named: str, config: Mapping[str, Any]) -> None:
    """Checks the settings of a scheduler's file, which may say anything, before one is made.

    Arguments:
        named: The scheduler's class.
        config: What its file says.

    Raises:
        UserError: A value of another type, a number that is not finite, a noise schedule that is
            not known, or a length that no model has.
    """
    unsaid = config.get("_use_default_values") or []
    said = {name: value for name, value in config.items() if name not in unsaid}
    for setting, types in SETTINGS.items():
        value = said.get(setting)
        wrong = isinstance(value, bool) and bool not in types
        wrong |= not isinstance(value, types) or (isinstance(value, float) and not isfinite(value))
        if setting in said and wrong:
            expected = " or ".join(KINDS[kind] for kind in types if kind in KINDS)
            raise UserError(
                f"the pipeline's {named} has {setting}={str(value)[:40]!r}; expected {expected}"
            )
    one_of("beta_schedule", said.get("beta_schedule", "linear"), BETA_SCHEDULES)
    one_of("timestep_spacing", said.get("timestep_spacing", "leading"), SPACINGS)
    length = said.get("num_train_timesteps", 1000)
    if not STEPS <= length <= MOST_TIMESTEPS:
        raise UserError(
            f"the pipeline's {named} has num_train_timesteps={length}; expected {STEPS} to"
            f" {MOST_TIMESTEPS:,}"
        )
    betas = said.get("trained_betas")
    if betas is not None and len(betas) != length:
        raise UserError(
            f"the pipeline's {named} has {len(betas)} trained_betas for {length} timesteps"
            " (num_train_timesteps); expected one each"
        )
