r"""What decides the sign of the alignment between guidance and the prediction without prompt.

With ``u`` and ``c`` the predictions without and with the prompt, :math:`d = c - u`, and the

.. math:: q = \frac{\|d\|}{\|u\|} \text{ (relative norm)}, \qquad
    E = \frac{\|c\|^2 - \|u\|^2}{\|d\|^2} \text{ (excess)},

the identity :math:`2\langle u, d\rangle = \|c\|^2 - \|u\|^2 - \|d\|^2` reads

.. math:: \cos(u, d) = \tfrac{q}{2} (E - 1).

The cosine is positive if and only if the prompt lengthens the prediction by more than the guidance
is long, :math:`\|c\|^2 > \|u\|^2 + \|d\|^2`. Where prompts change the direction and not the
length (E = 0) it is minus half the relative norm, so a norm that separates is a cosine reversed.

What the network was given, x, tells two sources of alignment apart. Split
:math:`u = g x + u_\perp` with :math:`u_\perp \perp x`: the part of the input that is taken for
noise, and the picture that the prediction without prompt imagines in it. With angles between
vectors,

.. math:: \cos(u, d) = \cos(u, x) \cos(x, d) + \sin(u, x) \cos(u_\perp, d).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _ratio(numerator: Array, denominator: Array) -> Array:
    """A quotient; NaN where there is no guidance, as at the first step of flow matching."""
    with np.errstate(invalid="ignore"):
        quotient: Array = numerator / denominator
    return quotient


@dataclass(frozen=True)
class Alignment:
    r"""The three inner products that everything follows from, any equal shapes.

    Attributes:
        uu, cc, uc: :math:`\|u\|^2`, :math:`\|c\|^2` and :math:`\langle u, c \rangle`.
    """

    uu: Array
    cc: Array
    uc: Array

    @property
    def norm(self) -> Array:
        r"""The norm of the guidance, :math:`\|c - u\|`."""
        return np.sqrt(np.maximum(self.uu + self.cc - 2 * self.uc, 0))

    @property
    def relative_norm(self) -> Array:
        """The relative norm q of the guidance."""
        return self.norm / np.sqrt(self.uu)

    @property
    def excess(self) -> Array:
        """The excess E of the length with the prompt."""
        return _ratio(self.cc - self.uu, self.norm**2)

    @property
    def cosine(self) -> Array:
        r""":math:`\cos(u, c - u)`."""
        return _ratio(self.uc - self.uu, np.sqrt(self.uu) * self.norm)

    @property
    def equal_length(self) -> Array:
        r"""The cosine after c has been given the length of u, :math:`-q'/2`.

        :math:`q'^2 = 2 (1 - \cos(u, c))`: what the turning alone says.
        """
        turned = 2 - 2 * self.uc / np.sqrt(self.uu * self.cc)
        return -0.5 * np.sqrt(np.maximum(turned, 0))


@dataclass(frozen=True)
class InputAlignment(Alignment):
    r"""The same with the network's input.

    Attributes:
        xx, xu, xc: :math:`\|x\|^2`, :math:`\langle x, u \rangle` and :math:`\langle x, c \rangle`;
            for scores, which point away from noise, x is minus the input.
    """

    xx: Array
    xu: Array
    xc: Array

    @property
    def gain(self) -> Array:
        r"""How much of the input u repeats, :math:`g = \langle u, x \rangle / \|x\|^2`."""
        return self.xu / self.xx

    @property
    def input_cosine(self) -> Array:
        r""":math:`\cos(u, x)`, one where the whole input is taken for noise."""
        return self.xu / np.sqrt(self.xx * self.uu)

    @property
    def along_input(self) -> Array:
        r""":math:`\cos(x, d)`, the guidance along the input."""
        return _ratio(self.xc - self.xu, np.sqrt(self.xx) * self.norm)

    @property
    def rest(self) -> Array:
        r"""The length of the rest, :math:`\|u_\perp\|`."""
        return np.sqrt(np.maximum(self.uu - self.xu**2 / self.xx, 0))

    @property
    def rest_product(self) -> Array:
        r""":math:`\langle u_\perp, d \rangle`."""
        return self.uc - self.uu - self.gain * (self.xc - self.xu)

    @property
    def along_rest(self) -> Array:
        r""":math:`\cos(u_\perp, d)`, the guidance along what is imagined in the input."""
        return _ratio(self.rest_product, self.rest * self.norm)
