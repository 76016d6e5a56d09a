"""Pictures come in the order of what they show, whoever draws them."""

import numpy as np
import pytest

from anisomem.testbed.drawing import drawn


def grey(value):
    return np.full((2, 2, 3), value, np.uint8)


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_lie_in_the_order_of_their_items(workers):
    made = list(drawn(grey, range(7), workers))
    assert [picture[0, 0, 0] for picture in made] == list(range(7))
    assert made[3].shape == (2, 2, 3) and made[3].dtype == np.uint8
    made[0][:] = 9  # memory of its own
    assert made[1].max() == 1
