r"""The alignment theorem on pairs of Gaussians, where every term can be computed.

Without a prompt :math:`x_0 \sim \mathcal{N}(m_u, C_u)`, with it :math:`\mathcal{N}(m_c, C_c)`;
noised covariances :math:`\Lambda = \alpha^2 C + \sigma^2 I`. The guidance is exactly

.. math:: s_c - s_u = M s_u + \alpha \Lambda_c^{-1} (m_c - m_u), \qquad
    M = \Lambda_c^{-1} \Lambda_u - I,

so for every :math:`\kappa > 0` it is :math:`\kappa (s_u + e)` with :math:`\|e\| \le r \|s_u\|`,

.. math:: r = \underbrace{\frac{\|(M / \kappa - I) s_u\|}{\|s_u\|}}_\text{covariance error} +
    \underbrace{\frac{\alpha \|\Lambda_c^{-1} (m_c - m_u)\|}{\kappa \|s_u\|}}_\text{displacement}

and then :math:`\cos(s_u, s_c - s_u) \ge \sqrt{1 - r^2} \ge (1 - r) / (1 + r)` wherever
:math:`r < 1`: docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anisomem.geometry.closed import Mixture


@dataclass(frozen=True)
class Terms:
    """What the theorem says and what is, at some points, ``[n]`` each.

    Attributes:
        covariance, displacement: The two parts of r.
        cosine: Between guidance and score without prompt.
        scale: The kappa under which the parts are taken.
    """

    covariance: Tensor
    displacement: Tensor
    cosine: Tensor
    scale: float

    @property
    def r(self) -> Tensor:
        """The sum of its two parts."""
        return self.covariance + self.displacement

    @property
    def paper(self) -> Tensor:
        """(1 - r) / (1 + r); below 0, and so without content where r is 1 or more, ``[n]``."""
        return (1 - self.r) / (1 + self.r)

    @property
    def sharp(self) -> Tensor:
        """sqrt(1 - r^2), NaN where r is 1 or more, ``[n]``."""
        return (1 - self.r.square()).sqrt()


def terms(
    unconditional: Mixture, conditional: Mixture, alpha: float, sigma: float, x: Tensor
) -> Terms:
    """The theorem's terms for a pair of Gaussians at some points.

    Arguments:
        unconditional, conditional: One component each, not noised.
        alpha, sigma: Of the noise level.
        x: ``[n, d]``.
    """
    u, c = unconditional.noised(alpha, sigma), conditional.noised(alpha, sigma)
    score = u.score(x)
    length = score.norm(dim=1)
    gain = c.precisions[0] @ u.covariances[0] - torch.eye(x.shape[1], dtype=x.dtype)
    scale = best_scale(gain)
    stretched = score @ gain.T
    moved = c.precisions[0] @ (c.means[0] - u.means[0])
    guidance = c.score(x) - score
    return Terms(
        (stretched / scale - score).norm(dim=1) / length,
        moved.norm() / (scale * length),
        torch.cosine_similarity(score, guidance, dim=1),
        scale,
    )


def best_scale(gain: Tensor) -> float:
    r"""The kappa that makes :math:`\|M / \kappa - I\|_2` least, where M has positive eigenvalues.

    Half the sum of the extreme eigenvalues of a symmetric M; then the norm is
    :math:`(\chi - 1) / (\chi + 1)` with M's condition number. Where M is not positive no kappa
    makes the error less than 1, and its largest eigenvalue serves.
    """
    values = torch.linalg.eigvals(gain).real
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2 if low > 0 else max(high, 1e-12)
