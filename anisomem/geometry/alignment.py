r"""What decides the sign of the alignment between guidance and the prediction without prompt.

With ``u`` and ``c`` the predictions without and with the prompt, :math:`d = c - u`, and the

.. math:: q = \frac{\|d\|}{\|u\|} \text{ (relative norm)}, \qquad
    E = \frac{\|c\|^2 - \|u\|^2}{\|d\|^2} \text{ (excess)},

the identity :math:`2\langle u, d\rangle = \|c\|^2 - \|u\|^2 - \|d\|^2` reads

.. math:: \cos(u, d) = \tfrac{q}{2} (E - 1).

The cosine is positive if and only if the prompt lengthens the prediction by more than the guidance
is long, :math:`\|c\|^2 > \|u\|^2 + \|d\|^2`. Where prompts change the direction and not the
length (E = 0) it is minus half the relative norm, so a norm that separates is a cosine reversed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


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
        return (self.cc - self.uu) / self.norm**2

    @property
    def cosine(self) -> Array:
        r""":math:`\cos(u, c - u)`."""
        return (self.uc - self.uu) / (np.sqrt(self.uu) * self.norm)

    @property
    def equal_length(self) -> Array:
        r"""The cosine after c has been given the length of u, :math:`-q'/2`.

        :math:`q'^2 = 2 (1 - \cos(u, c))`: what the turning alone says.
        """
        turned = 2 - 2 * self.uc / np.sqrt(self.uu * self.cc)
        return -0.5 * np.sqrt(np.maximum(turned, 0))
