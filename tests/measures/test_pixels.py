"""Closed forms of pixel distances; SSIM against torchmetrics."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import structural_similarity_index_measure

from anisomem.errors import UserError
from anisomem.measures.base import TrainingPictures
from anisomem.measures.pixels import PixelL2, Shifted, Ssim, TrainingRank, fitted, rms


def flat(colour, side=12):
    return np.full((side, side, 3), colour, np.uint8)


def by_definition(a, b, shift):
    """Every shift and every pixel, one by one."""
    height, width = b.shape[:2]
    best = np.inf
    for u, v in product(range(-shift, shift + 1), repeat=2):
        inside = [
            (a[y + u, x + v] / 255 - b[y, x] / 255) ** 2
            for y, x in product(range(height), range(width))
            if 0 <= y + u < height and 0 <= x + v < width
        ]
        best = min(best, np.sqrt(np.mean(inside)))
    return best


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_distance_is_its_definition(noise, shift):
    pictures, other = noise(3, 7, 9), noise(7, 9)
    expected = [by_definition(one, other, shift) for one in pictures]
    np.testing.assert_allclose(Shifted(pictures, shift)(other), expected, rtol=1e-12)
    if shift == 0:
        np.testing.assert_allclose(rms(pictures, other), expected, rtol=1e-12)


def test_a_shifted_copy_is_a_copy_exactly(noise):
    large = noise(40, 50)
    other = large[5:35, 5:45]
    pictures = np.stack([large[5 + u : 35 + u, 5 + v : 45 + v] for u, v in ((0, 0), (3, -2))])
    assert Shifted(pictures, 3)(other).tolist() == [0, 0]
    away = Shifted(pictures, 2)(other)
    assert away[0] == 0 and away[1] > 0.3


def test_pixel_l2_is_to_the_nearest(generated):
    measure = PixelL2("pixel_l2", shift=1)
    measure.start(TrainingPictures({"a": [flat(0), flat(100)], "b": [flat(51)]}), "cpu")
    found = measure(generated([flat(51), flat(90), flat(255)]))["pixel_l2"]
    np.testing.assert_allclose(found, [49 / 255, 10 / 255, 155 / 255], rtol=1e-12)
    average, nearest, share = (s.reduce(found[None])[0] for s in measure.statistics)
    assert average == pytest.approx(214 / 3 / 255)
    assert nearest == pytest.approx(10 / 255)
    assert share == pytest.approx(1 / 3)  # 0.039 is at most 0.15, 0.19 and 0.61 are not
    assert [s.smaller for s in measure.statistics] == [True, True, False]


def test_training_pictures_are_cut_in_the_middle_and_resized(noise):
    picture = noise(12, 12)
    assert fitted(picture, 12, 12) is picture
    wide = np.concatenate([flat(0), picture, flat(255)], axis=1)
    assert (fitted(wide, 12, 12) == picture).all()
    smaller = Image.fromarray(picture).resize((6, 6), Image.Resampling.BICUBIC)
    inside = np.s_[:, 2:-2]  # the filter reads across the cut
    assert (fitted(wide, 6, 6)[inside] == np.asarray(smaller)[inside]).all()


@pytest.mark.parametrize("shape", [(16, 24), (11, 11), (64, 64)])
def test_ssim_is_that_of_torchmetrics(noise, generated, shape):
    pictures, others = noise(2, *shape), noise(2, *shape)
    pictures[0] = others[1] // 2 + 40  # related, so that the covariance counts

    def theirs(a, b):
        pair = (torch.tensor(x[None] / 1.0).movedim(-1, 1) for x in (a, b))
        _, places = structural_similarity_index_measure(
            *pair, data_range=255.0, return_full_image=True
        )
        return float(places[..., 5:-5, 5:-5].mean())  # it reflects pictures at their border

    measure = Ssim("ssim")
    measure.start(TrainingPictures({"a": list(others)}), "cpu")
    found = measure(generated(pictures))["ssim"]
    expected = [max(theirs(one, other) for other in others) for one in pictures]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[0] > 0.5 and measure(generated(others))["ssim"] == pytest.approx([1, 1])


def test_ssim_of_flat_pictures_is_its_first_term(generated):
    measure = Ssim("ssim")
    measure.start(TrainingPictures({"a": [flat(100)]}), "cpu")
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert measure(generated([flat(50)]))["ssim"] == pytest.approx([expected])


def test_rank_among_all_training_pictures(generated):
    measure = TrainingRank("training_rank", side=12)
    shared = flat(200)
    known = {"a": [flat(100), shared], "b": [flat(90)], "c": [flat(80), shared], "d": [flat(0)]}
    measure.start(TrainingPictures(known), "cpu")
    pictures = [flat(101), flat(96), flat(95), flat(84), flat(20), flat(210)]
    found = measure(generated(pictures))["rank"]
    # 95 is as far from 90 as from 100: a tie is no one nearer. The shared picture counts once.
    assert found.tolist() == [1, 1, 1, 3, 4, 1]
    share, average = (s.reduce(found[None])[0] for s in measure.statistics)
    assert share == 4 / 6 and average == 11 / 6
    assert measure(generated(pictures[:1], "d"))["rank"].tolist() == [5]


def test_rank_at_another_size(noise, generated):
    pictures = noise(3, 32, 32)
    measure = TrainingRank("training_rank", side=16)
    measure.start(TrainingPictures({"a": [pictures[0]], "b": [pictures[1]]}), "cpu")
    assert measure(generated(pictures[:2]))["rank"].tolist() == [1, 2]


def test_mistakes(generated):
    with pytest.raises(UserError, match=r"pixel_l2\.shift must be an integer from 0, got -1"):
        PixelL2("pixel_l2", shift=-1)
    close = PixelL2("pixel_l2", shift=12)
    close.start(TrainingPictures({"a": [flat(0)]}), "cpu")
    with pytest.raises(UserError, match="pictures of 12×12 cannot be shifted by 12 px"):
        close(generated([flat(0)]))
    small = Ssim("ssim")
    small.start(TrainingPictures({"a": [flat(0)]}), "cpu")
    with pytest.raises(UserError, match="SSIM needs pictures of 11 px a side, got 10×10"):
        small(generated([flat(0, 10)]))
    with pytest.raises(UserError, match="at least two; got 1"):
        TrainingRank("training_rank").start(
            TrainingPictures({"a": [flat(0)], "b": [flat(0)]}), "cpu"
        )
