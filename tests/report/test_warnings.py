"""What a reader is warned of before the numbers."""

from types import SimpleNamespace

import numpy as np
from anisomem.baselines.controls import Random
from anisomem.baselines.wen import WenNorm

from anisomem.evaluation import Evaluation
from anisomem.report.warnings import warnings

N = 60


def results(signs, *controls):
    """Detectors that order most prompts rightly (1), wrongly (-1) or by chance (0)."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], N)
    rows = [sign * 2 * labels + rng.normal(size=2 * N) for sign in [*signs, *controls]]
    detectors = [WenNorm(f"d{i}") for i in range(len(signs))]
    detectors += [Random(f"c{i}", 0) for i in range(len(controls))]
    return SimpleNamespace(
        name="made",
        detectors=detectors,
        scored=SimpleNamespace(refused={}),
        evaluated=Evaluation(np.array(rows)[:, None], labels, np.arange(2 * N), draws=200),
    )


def test_labels_that_look_inverted_are_one_line():
    for signs, below in (([-1], 1), ([-1, -1, 1], 2), ([-1] * 6, 6)):
        (line,) = warnings([results(signs)])
        assert line.startswith(
            f"made: {below} of {len(signs)} rows of detectors have an AUC below"
        )
        assert "labels are inverted" in line and "no label and no sign is changed" in line


def test_one_reversed_detector_or_chance_is_no_such_hint():
    for signs in ([1, -1, 1], [0, 0, 0], [1], [-1, 1, 1, 1]):
        assert warnings([results(signs)]) == []
    assert warnings([results([1], -1)]) == []  # a control that is reversed says nothing of it
