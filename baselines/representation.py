r"""Spread of a representation over its channels: Zhang et al., ICLR 2026 (arXiv 2512.20963).

.. math:: \frac1L \sum_{l \le L} \operatorname{std}_{\text{channels}} \Bigl(
    \max_{\text{positions}} h_l\bigl(\alpha_t x + \sigma_t \varepsilon,\ t,\ \text{no prompt}\bigr)
    \Bigr)

A picture that a network has memorized excites few of its channels much (spiky), another many of
them (balanced). The prompt only generates the picture x, guided, in 50 steps; what is read is the
network without it. :math:`h_l` is the activation behind the last nonlinearity of the residual
layer l of the first up-sampling block (``up_blocks.0.resnets.l.nonlinearity``), the deviation that
of the population. Without unit.

The authors' code (la0ka1/diffusion-gen-from-rep, commit b706f52) reads t = 10 and, of Stable
Diffusion's three layers, the last (``layer="last"``, the default); ``layer="mean"`` is the mean
over all. It decodes and encodes the picture first and draws a noise for each picture; here the
latents are read as they are, and the noise is the same for all prompts at a noise sample.

What is uncertain: the paper itself was not at hand, and a reader's note quotes AUC .987 and TPR
.961 on Stable Diffusion v1.4. The ordinary pictures there are those of Stable Diffusion's users'
prompts, which look otherwise than the memorized ones, and a representation of pictures sees that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import STEPS
from anisomem.detection.places import At
from anisomem.detection.renoised import Representation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RepresentationSpread(Detector):
    """The standard deviation over channels of a pooled activation.

    Arguments:
        layer: Which of the block's residual layers, ``last`` or the ``mean`` over all.
        at: Noise level.
    """

    info = Info(
        papers.ZHANG,
        "activations of the first up-sampling block at the noised end of a guided trajectory, "
        "without prompt",
        "standard deviation",
    )
    layer: Literal["last", "mean"] = "last"
    at: At = At("t:10")

    def components(self) -> Components:
        name = component_name("representation/spread", self.layer, self.at)
        return [Component(name, [Representation(self.at)], self._spread)]

    def cost(self) -> Cost:
        return Cost(nfe=(2 * STEPS + 1) * self.n)

    def _spread(self, activations: Tensor) -> Tensor:
        """Of a batch, ``[B, layers, channels]`` to ``[B]``."""
        spread = activations.std(dim=2, correction=0)
        return spread[:, -1] if self.layer == "last" else spread.mean(dim=1)
