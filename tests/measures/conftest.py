import numpy as np
import pytest

from anisomem.measures.base import Generated


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def noise(rng):
    """``noise(*shape)``: pictures of noise, ``[*shape, 3]``."""

    def made(*shape):
        return rng.integers(0, 256, (*shape, 3), np.uint8)

    return made


@pytest.fixture
def generated():
    """The pictures of a prompt; without a mitigation they are the same."""

    def made(pictures, key="a", text="a red cat", plain=None):
        pictures = np.asarray(pictures)
        return Generated(key, text, pictures, pictures if plain is None else plain)

    return made
