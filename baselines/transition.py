r"""Where the guidance first stops falling along a trajectory, and how long it was until then.

Along a guided 50-step DDIM trajectory (7.5) let :math:`g_i = \|c_{t_i} - u_{t_i}\|_2`, averaged
over noise samples. The *transition point* is the first local minimum, the smallest i with
:math:`g_{i-1} > g_i < g_{i+1}`, and the last step where there is none: a memorized prompt pulls
hard from the first step on until the trajectory leaves the basin that it pulls into. ``height`` is
the largest g up to there, ``step`` is i itself.

Jain, Kobayashi, Shibuya, Takida, Memon, Togelius & Mitsufuji, CVPR 2025 (arXiv 2411.16738), whose
released code (SonyResearch/mitigating_memorization) starts the guidance there, along trajectories
that are not guided before.

What is uncertain: the paper gives no detection score, so both numbers are this project's reading.
That a later step means memorized is a guess; the table says what comes out, and no sign is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from anisomem import papers
from anisomem.detection.base import Array, Components, Cost, Detector, Info, Recorded
from anisomem.detection.needs import STEPS

from .wen import WenNorm


@dataclass
class TransitionPoint(Detector):
    """The first local minimum of the guidance along a trajectory.

    Arguments:
        reads: ``height``, the largest norm up to it, or ``step``, its place.
    """

    info = Info(
        papers.JAIN,
        "predictions with and without prompt at all steps of a guided trajectory",
        "height or step",
    )
    reads: Literal["height", "step"] = "height"

    def components(self) -> Components:
        return WenNorm(self.name, self.n, steps=STEPS).components()

    def cost(self) -> Cost:
        return WenNorm(self.name, self.n, steps=STEPS).cost()

    def combine(self, recorded: Recorded) -> Array:
        norms = np.stack([recorded.mean(name, self.n) for name in self.component_names], axis=1)
        step = first_minimum(norms)
        if self.reads == "step":
            return step.astype(np.float64)
        until = np.arange(norms.shape[1]) <= step[:, None]
        height: Array = np.where(until, norms, -np.inf).max(axis=1)
        return height


def first_minimum(curves: Array) -> np.ndarray:
    """The place of the first local minimum of each curve ``[N, k]``; its end where none is."""
    falls, rises = curves[:, :-2] > curves[:, 1:-1], curves[:, 1:-1] < curves[:, 2:]
    least = falls & rises
    return np.where(least.any(axis=1), 1 + least.argmax(axis=1), curves.shape[1] - 1)
