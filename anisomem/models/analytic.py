r"""Closed-form diffusion models: Gaussian mixtures whose optimal network is known exactly.

A prompt selects a component :math:`k`: :math:`x_0 \sim \mathcal{N}(\mu_k, s_k^2 I)`. Noised, it
is :math:`\mathcal{N}(\alpha_t \mu_k, v_k I)` with :math:`v_k = \alpha_t^2 s_k^2 + \sigma_t^2`, so

.. math:: \nabla_x \log p_t(x \mid k) = (\alpha_t \mu_k - x) / v_k, \qquad
    E[x_0 \mid x, k] = \mu_k - \alpha_t s_k^2 \, \nabla_x \log p_t(x \mid k),

and both without a prompt are the means of these under the posterior weights of the components.
A memorized prompt is a component with a small :math:`s_k`. One component alone is a Gaussian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anisomem.errors import unknown
from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Parameterisation
from anisomem.models.schedule import DDIMSchedule, Schedule, stable_diffusion_ddim


@dataclass(frozen=True, kw_only=True, eq=False)
class ComponentConditioning(Conditioning):
    """Prompts of a mixture.

    Attributes:
        component: Index of every prompt's component, -1 for the whole mixture, ``[n]``.
    """

    component: Tensor


class AnalyticMixture(DiffusionModel):
    """A Gaussian mixture, under Stable Diffusion's noise schedule if none is given.

    Arguments:
        means: Component means, ``[K, C, H, W]``.
        stds: Component standard deviations, ``[K]``.
        prompts: The prompt of each component; "" is the whole mixture.
        weights: Mixture weights, ``[K]``; uniform if not given.
        parameterisation: What the network outputs; all carry the same information.
        schedule: The noise schedule.
    """

    def __init__(
        self,
        means: Tensor,
        stds: Sequence[float],
        prompts: Sequence[str],
        weights: Sequence[float] | None = None,
        parameterisation: Parameterisation = Parameterisation.EPSILON,
        schedule: Schedule | None = None,
    ) -> None:
        self.means = means
        self.dtype = means.dtype
        self.variances = torch.tensor(stds, dtype=means.dtype).square()
        shares = weights or [1 / len(stds)] * len(stds)
        self.log_weights = torch.tensor(shares, dtype=means.dtype).log()
        self.prompts = list(prompts)
        self.parameterisation = parameterisation
        channels, height, width = means.shape[1:]
        self.latent_shape = (channels, height, width)
        self.schedule = schedule or DDIMSchedule(stable_diffusion_ddim())

    def encode(self, prompts: Sequence[str]) -> ComponentConditioning:
        for prompt in prompts:
            if prompt and prompt not in self.prompts:
                raise unknown("component", prompt, self.prompts)
        rows = [self.prompts.index(p) if p else -1 for p in prompts]
        return ComponentConditioning(component=torch.tensor(rows))

    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        alpha, sigma = (scale.to(x)[:, None] for scale in self.scales(t))
        variance = alpha**2 * self.variances + sigma**2  # [n, K]
        offset = alpha[..., None] * self.means.flatten(1) - x.flatten(1)[:, None]  # [n, K, d]

        component = ComponentConditioning.checked(conditioning).component
        log_density = -0.5 * (
            offset.square().sum(-1) / variance + offset.shape[-1] * variance.log()
        )
        posterior = (self.log_weights + log_density).softmax(-1)
        chosen = torch.arange(len(self.prompts)) == component[:, None]
        weight = torch.where(component[:, None] < 0, posterior, chosen.to(x))
        pull = offset / variance[..., None]  # the score of every component
        gain = (alpha * self.variances)[..., None]

        def mean(values: Tensor) -> Tensor:
            return (weight[..., None] * values).sum(1).view_as(x)

        alpha, sigma = alpha[..., None, None], sigma[..., None, None]
        epsilon = -sigma * mean(pull)
        x0 = mean(self.means.flatten(1) - gain * pull)  # as from epsilon, and where alpha is 0
        return {
            Parameterisation.EPSILON: epsilon,
            Parameterisation.VELOCITY: alpha * epsilon - sigma * x0,
            Parameterisation.SAMPLE: x0,
            Parameterisation.FLOW: epsilon - x0,
        }[self.parameterisation]

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents in [-1, 1] as grey pictures, the mean over channels."""
        grey = (latents.mean(1, keepdim=True) / 2 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)
        return (grey.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
