"""The tiled distance, by hand."""

import numpy as np
import pytest
import torch
from anisomem.baselines.carlini import TiledL2, tiled_distances

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture

PROMPTS = ["copied", "free"]


def literal(a, b, grid):
    """For sides that the grid divides."""
    height, width = a.shape[0] // grid, a.shape[1] // grid
    found = []
    for i in range(grid):
        for j in range(grid):
            tile = np.s_[i * height : (i + 1) * height, j * width : (j + 1) * width]
            difference = a[tile].astype(float) / 255 - b[tile].astype(float) / 255
            found.append(np.sqrt((difference**2).mean()))
    return max(found)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_distances_are_those_of_a_literal_version(grid):
    rng = np.random.default_rng(grid)
    pictures = rng.integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    expected = [literal(pictures[i], pictures[j], grid) for i in range(4) for j in range(i + 1, 4)]
    np.testing.assert_allclose(
        tiled_distances(torch.from_numpy(pictures), grid), expected, rtol=1e-6
    )


def test_a_common_background_does_not_make_pictures_alike():
    # Only one of 16 tiles differs, by 51 / 255: its distance counts, not a quarter of it.
    pictures = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    pictures[1, 2:4, 4:6] = 51
    assert tiled_distances(pictures, 4).tolist() == pytest.approx([0.2])
    assert tiled_distances(pictures, 1).tolist() == pytest.approx([0.05])


def test_sides_that_the_grid_does_not_divide_lose_nothing():
    pictures = torch.zeros(2, 7, 9, 3, dtype=torch.uint8)
    for row in range(7):
        for column in range(9):
            changed = pictures.clone()
            changed[1, row, column] = 255
            assert tiled_distances(changed, 4).item() >= 1 / np.sqrt(2 * 3) - 1e-6
    assert tiled_distances(255 - 0 * pictures, 4).tolist() == [0]
    with pytest.raises(UserError, match="9 x 7 pixels has no grid of 8 x 8"):
        tiled_distances(pictures, 8)


@pytest.mark.parametrize("n", [2, 3])
def test_scores_are_negated_distances_of_generated_pictures(make_prompts, n):
    means = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) / 2
    model = AnalyticMixture(means, [0.01, 1.0], PROMPTS)
    detectors = [TiledL2("mean", n=n), TiledL2("min", n=n, pairs="min"), TiledL2("more", n=4)]
    recorded = Engine(model, detectors).evaluate(PROMPTS, [0, 1], 9)
    recorded = Recorded(recorded, make_prompts(PROMPTS, [1, 0]))
    mean, closest = (detector.combine(recorded) for detector in detectors[:2])
    for row, prompt in enumerate(PROMPTS):
        end = model.sample(model.initial_noise(9, n), model.encode([prompt] * n))
        pictures = model.decode(end)
        distances = [
            literal(pictures[i], pictures[j], 4) for i in range(n) for j in range(i + 1, n)
        ]
        assert mean[row] == pytest.approx(-np.mean(distances), rel=1e-5)
        assert closest[row] == pytest.approx(-min(distances), rel=1e-5)
    assert mean[0] > mean[1] + 0.1 and closest[0] > closest[1] + 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 1}, "n must be an integer from 2, got 1"),
        ({"grid": 0}, "grid must be a positive integer, got 0"),
        ({"pairs": "maen"}, "did you mean 'mean'"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        TiledL2("t", **changes)
