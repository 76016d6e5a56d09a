"""Rows that several steps take again are those of the prompts, in their order."""

import numpy as np
import pytest

from anisomem.engine.batches import again


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 12])
def test_rows_taken_again_are_those_of_the_repetition(size):
    n, prompts = 4, np.arange(4)
    for start in range(0, 3 * n, size):
        rows = slice(start, min(start + size, 3 * n))
        assert prompts[again(rows, n)].tolist() == np.tile(prompts, 3)[rows].tolist()


def test_rows_within_one_repetition_are_not_copied():
    assert again(slice(8, 12), 4) == slice(0, 4)
    assert again(slice(5, 7), 4) == slice(1, 3)
    assert again(slice(3, 5), 4) == [3, 0]
