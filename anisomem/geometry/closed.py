r"""Gaussian mixtures under diffusion: density, score and Hessian in closed form.

With :math:`x_0 \sim \sum_k w_k \mathcal{N}(m_k, C_k)` and :math:`x_t = \alpha x_0 + \sigma
\varepsilon` the noised density is again a mixture, with means :math:`\alpha m_k` and covariances
:math:`\Lambda_k = \alpha^2 C_k + \sigma^2 I`. All tensors are float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture in d dimensions; one component alone is a Gaussian.

    Attributes:
        means: ``[K, d]``.
        covariances: ``[K, d, d]``, symmetric and positive definite, but for a data distribution
            that is only ever noised, which may be flat.
        weights: ``[K]``, sum to 1.
    """

    means: Tensor
    covariances: Tensor
    weights: Tensor

    @classmethod
    def uniform(cls, means: Tensor, covariances: Tensor) -> Mixture:
        """A mixture with equal weights, in float64."""
        n = len(means)
        return cls(means.double(), covariances.double(), torch.full((n,), 1 / n).double())

    def component(self, k: int) -> Mixture:
        """One component, which a prompt selects."""
        return Mixture(self.means[[k]], self.covariances[[k]], torch.ones(1).double())

    def noised(self, alpha: float, sigma: float) -> Mixture:
        r"""The distribution of :math:`\alpha x_0 + \sigma \varepsilon`."""
        noise = sigma**2 * torch.eye(self.means.shape[1], dtype=torch.float64)
        return Mixture(alpha * self.means, alpha**2 * self.covariances + noise, self.weights)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``[n, d]``."""
        drawn = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        values, vectors = torch.linalg.eigh(self.covariances)
        roots = vectors * values.clamp(min=0).sqrt()[:, None]
        white = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[drawn] + torch.einsum("nij,nj->ni", roots[drawn], white)

    @cached_property
    def precisions(self) -> Tensor:
        """The inverse covariances, ``[K, d, d]``."""
        return torch.linalg.inv(self.covariances)

    def pulls(self, x: Tensor) -> Tensor:
        r"""The score of every component, :math:`\Lambda_k^{-1}(m_k - x)`, ``[n, K, d]``."""
        return torch.einsum("kij,nkj->nki", self.precisions, self.means - x[:, None])

    def _joint(self, x: Tensor) -> Tensor:
        """Log density of every component times its weight, ``[n, K]``."""
        squares = ((self.means - x[:, None]) * self.pulls(x)).sum(-1)
        logdet = torch.linalg.slogdet(self.covariances).logabsdet
        constant = x.shape[1] * math.log(2 * math.pi)
        return self.weights.log() - 0.5 * (squares + logdet + constant)

    def log_density(self, x: Tensor) -> Tensor:
        """The log density at x, ``[n]``."""
        return self._joint(x).logsumexp(-1)

    def score(self, x: Tensor) -> Tensor:
        r""":math:`s = \sum_k r_k s_k` with the posterior weights r, ``[n, d]``."""
        return torch.einsum("nk,nkd->nd", self._joint(x).softmax(-1), self.pulls(x))

    def hessian(self, x: Tensor) -> Tensor:
        r"""The Hessian of the log density, ``[n, d, d]``.

        .. math:: \nabla^2 \log p = \sum_k r_k (s_k s_k^\top - \Lambda_k^{-1}) - s s^\top
        """
        weights, pulls = self._joint(x).softmax(-1), self.pulls(x)
        outer = torch.einsum("nk,nki,nkj->nij", weights, pulls, pulls)
        curved = torch.einsum("nk,kij->nij", weights, self.precisions)
        s = torch.einsum("nk,nkd->nd", weights, pulls)
        return outer - curved - s[:, :, None] * s[:, None]

    def guidance(self, x: Tensor, k: Tensor) -> Tensor:
        r""":math:`s_k - s = \sum_j r_j (s_k - s_j)`, ``[n, d]``, exact however small it is.

        Arguments:
            x: ``[n, d]``.
            k: The component at each point, ``[n]``.
        """
        weights, pulls = self._joint(x).softmax(-1), self.pulls(x)
        return torch.einsum("nk,nkd->nd", weights, _chosen(pulls, k) - pulls)

    def curvature_of_guidance(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        r""":math:`(H_k - H) v`, ``[n, d]``, as exact.

        .. math:: H_k - H = \sum_j r_j (\Lambda_j^{-1} - \Lambda_k^{-1}) -
            \sum_j r_j (s_j - s)(s_j - s)^\top

        Arguments:
            x, k: As of :meth:`guidance`.
            v: ``[n, d]``.
        """
        weights, pulls = self._joint(x).softmax(-1), self.pulls(x)
        apart = pulls - _chosen(pulls, k) + self.guidance(x, k)[:, None]
        stiffness = torch.einsum("kij,nj->nki", self.precisions, v)
        curved = torch.einsum("nk,nkd->nd", weights, stiffness - _chosen(stiffness, k))
        return curved - torch.einsum("nk,nkd,nke,ne->nd", weights, apart, apart, v)


def _chosen(values: Tensor, k: Tensor) -> Tensor:
    """``[n, K, d]`` and ``[n]`` to ``[n, 1, d]``."""
    return values[torch.arange(len(k)), k][:, None]


def posterior_covariance(hessian: Tensor, alpha: float, sigma: float) -> Tensor:
    r"""The covariance of :math:`x_0` given :math:`x_t`, by the noised log density's Hessian.

    .. math:: \operatorname{Cov}[x_0 \mid x_t] = \frac{\sigma^2}{\alpha^2}
        (I + \sigma^2 \nabla^2 \log p_t(x_t))

    the second-order form of Tweedie's formula (Efron, JASA 2011).
    """
    eye = torch.eye(hessian.shape[-1], dtype=hessian.dtype)
    return (sigma / alpha) ** 2 * (eye + sigma**2 * hessian)
