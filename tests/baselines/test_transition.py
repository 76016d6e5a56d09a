"""The first local minimum of a curve, and what was reached before it."""

import numpy as np
from anisomem.baselines.transition import TransitionPoint, first_minimum
from anisomem.baselines.wen import WenNorm

from anisomem.detection.base import Recorded


def test_first_local_minimum():
    curves = np.array(
        [
            [5, 3, 1, 2, 0, 4],  # the first, not the deepest
            [1, 2, 3, 2, 2, 5],  # a plateau is no minimum
            [6, 5, 4, 3, 2, 1],  # none: the last step
            [1, 2, 3, 4, 5, 6],
            [2, 1, 3, 0, 9, 9],
        ]
    )
    assert first_minimum(curves).tolist() == [2, 5, 5, 5, 1]


def test_curves_are_averaged_over_noise_samples_first(make_prompts):
    curve = 100 - np.arange(50.0)
    curve[10:] = np.arange(40) + 90.5  # falls to 91 at step 9, then rises from 90.5 at step 10
    samples = np.stack([curve + 30, curve - 30])
    names = WenNorm("w", 2, steps=50).component_names
    recorded = Recorded(
        {name: np.stack([samples[:, i]] * 2) for i, name in enumerate(names)},
        make_prompts(["a", "b"], [1, 0]),
    )
    step, height = (TransitionPoint("t", 2, reads=q) for q in ("step", "height"))
    assert step.combine(recorded).tolist() == [10, 10]
    assert height.combine(recorded).tolist() == [100, 100]
    assert step.component_names == WenNorm("w", 2, steps=50).component_names
