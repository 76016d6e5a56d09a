"""Textures look like what they say where that can be computed."""

from dataclasses import replace

import numpy as np
import pytest

from anisomem.testbed import textures
from anisomem.testbed.pictures import LARGE, SMALL, canvas_of, draw, random_layout

STYLES = {"fox": ["noto"]}


@pytest.fixture(scope="module")
def icons():
    return {("fox", "noto"): np.zeros((64, 64, 4), np.float32)}  # nothing to see


def layouts(n):
    rng = np.random.default_rng(0)
    return [random_layout(("fox",), STYLES, rng, LARGE) for _ in range(n)]


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_has_the_spectrum_it_is_asked_for(slope):
    rng = np.random.default_rng(1)
    fields = np.stack([textures.noise(64, slope, rng) for _ in range(40)])
    np.testing.assert_allclose(fields.std((1, 2)), 1, rtol=1e-5)
    power = (np.abs(np.fft.fft2(fields)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    used = frequency > 0
    fitted = np.polyfit(np.log(frequency[used]), np.log(power[used]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)


@pytest.mark.parametrize("kind", textures.KINDS)
def test_every_kind_has_fine_structure_and_is_a_function_of_its_seed(kind):
    texture = textures.Texture(kind, (1.0, 1.0, 1.0), 0.8, 0.03, seed=5)
    drawn = textures.background(texture, (0.0, 0.0, 0.0), 64)
    np.testing.assert_array_equal(drawn, textures.background(texture, (0.0, 0.0, 0.0), 64))
    other = textures.background(replace(texture, seed=6), (0.0, 0.0, 0.0), 64)
    assert np.abs(drawn - other).mean() > 0.02
    assert drawn.min() >= 0 and drawn.max() <= 0.8 + 1e-6  # a mixture of the two colours
    blocks = drawn[..., 0].reshape(16, 4, 16, 4).mean((1, 3))
    assert np.diff(blocks, axis=0).std() > 0.01  # not only below what a latent resolves


def test_textured_pictures_differ_everywhere_and_flat_ones_nowhere(icons):
    drawn = {bool(layout.texture): draw(layout, icons) for layout in layouts(12)}
    steps = {
        textured: (np.abs(np.diff(p.astype(int), axis=0)).max(2) > 0).mean()
        for textured, p in drawn.items()
    }
    assert steps[False] == 0 and steps[True] > 0.9


def test_two_thirds_of_the_large_pictures_are_textured_and_no_small_one():
    share = np.mean([layout.texture is not None for layout in layouts(600)])
    assert abs(share - LARGE.textured) < 0.06
    rng = np.random.default_rng(0)
    assert random_layout(("fox",), STYLES, rng).texture is None
    assert SMALL.textured == 0


def test_the_canvas_follows_from_the_size_of_a_picture(icons):
    assert canvas_of(draw(layouts(1)[0], icons)) is LARGE
    assert canvas_of(np.zeros((5, 32, 32, 3))) is SMALL
    with pytest.raises(ValueError, match="48 px"):
        canvas_of(np.zeros((48, 48, 3)))
