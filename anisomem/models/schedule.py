"""Stable Diffusion's noise schedule."""

from diffusers import DDIMScheduler


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
