"""The nearest pictures, against all distances computed at once."""

import numpy as np
import pytest

from anisomem.measures import nearest, pixels


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 256, (3, 2, 8, 8, 3), np.uint8)
    many = list(rng.integers(0, 256, (11, 8, 8, 3), np.uint8))
    many[4] = groups[1, 1].copy()  # a copy
    many[9] = many[2]  # a duplicate
    many[6] = None  # cannot be read
    return groups, many


@pytest.mark.parametrize("size", [1, 3, 11])
def test_blocks_change_nothing_and_both_directions_are_exact(drawn, size):
    groups, many = drawn
    measure = pixels.TrainingRank("r", side=8)
    blocks = [many[i : i + size] for i in range(0, len(many), size)]
    found = nearest.nearest(groups, blocks, len(many), measure, k=4)
    some = groups.reshape(6, 8, 8, 3)
    away = np.array([[np.inf if b is None else pixels.rms(a, b) for b in many] for a in some])
    read = [i for i in range(len(many)) if i != 6]
    np.testing.assert_allclose(found.closest[read], away.min(axis=0)[read], rtol=1e-5, atol=1e-6)
    assert found.of[read].tolist() == away.argmin(axis=0)[read].tolist()
    assert np.isnan(found.closest[6]) and found.of[6] == nearest.NONE
    winners = np.bincount(away.argmin(axis=1), minlength=len(many))
    assert found.times.tolist() == winners.tolist() and found.times.sum() == 6
    grouped = away.reshape(3, 2, -1).min(axis=1)
    expected = np.argsort(grouped, axis=1, kind="stable")[:, :4]
    assert found.places.tolist() == expected.tolist()
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(grouped, expected, axis=1), rtol=1e-5, atol=1e-6
    )
    assert found.places[1, 0] == 4 and found.by[1, 0] == 1
    assert found.distances[1, 0] == pytest.approx(0, abs=1e-6)


def test_fewer_pictures_than_are_asked_for(drawn):
    groups, many = drawn
    found = nearest.nearest(groups, [many[:2]], 2, pixels.TrainingRank("r", side=8), k=3)
    assert (found.places[:, 2] == nearest.NONE).all() and np.isinf(found.distances[:, 2]).all()
    assert (np.sort(found.places[:, :2]) == [0, 1]).all()
