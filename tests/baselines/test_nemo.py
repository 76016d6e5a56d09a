"""NeMo's likeness against torchmetrics."""

import itertools

import numpy as np
import pytest
import torch
from anisomem.baselines.nemo import NeMoSSIM, ms_ssim
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS = ["copied", "free"]


def reference(first, second, kernel, betas):
    """torchmetrics with a window of ``kernel``, which it derives from sigma alone."""
    return multiscale_structural_similarity_index_measure(
        first,
        second,
        sigma=1.5 * kernel / 11,
        kernel_size=kernel,
        betas=tuple(betas),
        reduction="none",
    )


def pictures(side, pairs=3, channels=4):
    """Pairs from nearly alike to unrelated, of values that are not from 0 to 1."""
    generator = torch.Generator().manual_seed(side)
    first, other = torch.randn(2, pairs, channels, side, side, generator=generator)
    share = torch.linspace(0.1, 1, pairs)[:, None, None, None]
    return 3 + 2 * first, 3 + 2 * ((1 - share) * first + share * other)


@pytest.mark.parametrize(
    ("side", "kernel", "betas"),
    [
        (64, 11, (0.33, 0.33, 0.33)),
        (44, 11, (0.33, 0.33, 0.33)),
        (45, 9, (0.5, 0.3, 0.2)),
        (64, 13, (0.33, 0.33, 0.33)),
        (21, 5, (0.33, 0.33, 0.33)),
        (8, 7, (0.6, 0.4)),
        (16, 3, (1.0,)),
        (180, 11, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)),
    ],
)
def test_ms_ssim_is_that_of_torchmetrics(side, kernel, betas):
    first, second = pictures(side)
    expected = reference(first, second, kernel, betas)
    torch.testing.assert_close(ms_ssim(first, second, kernel, betas), expected, rtol=2e-5, atol=0)
    assert expected[0] > expected[1] + 0.1  # they are not all alike
    torch.testing.assert_close(ms_ssim(first, first, kernel, betas), torch.ones(3))


def test_a_negative_likeness_is_zero():
    first, _ = pictures(44)
    assert ms_ssim(first, -first, 11, (0.33, 0.33, 0.33)).tolist() == [0, 0, 0]


def test_the_kernel_size_of_torchmetrics_does_nothing_under_a_gaussian_window():
    first, second = pictures(64)
    wide, narrow = (
        multiscale_structural_similarity_index_measure(
            first, second, kernel_size=size, betas=(0.33, 0.33, 0.33), reduction="none"
        )
        for size in (11, 3)
    )
    assert torch.equal(wide, narrow)


def test_the_constants_depend_on_the_range_over_all_pairs():
    first, second = pictures(64)
    second[2] *= 100  # another pair
    alone = ms_ssim(first[:1], second[:1], 11, (0.33, 0.33, 0.33))
    together = ms_ssim(first, second, 11, (0.33, 0.33, 0.33))
    expected = reference(first, second, 11, (0.33, 0.33, 0.33))
    torch.testing.assert_close(together, expected, rtol=2e-5, atol=1e-6)
    assert abs(float(alone) - float(together[0])) > 0.01


def literal(model, prompt, seed, n, scheduler_step):
    """The released computation for one prompt."""
    noise = model.initial_noise(seed, n)
    conditioning = model.encode([prompt] * n)
    latents = noise
    if scheduler_step:
        latents = next(iter(model.trajectory(noise, conditioning, guidance=1.0))).after
    difference = model.predict(latents, 961, conditioning).epsilon - noise
    least, most = difference.amin(dim=[2, 3]), difference.amax(dim=[2, 3])
    scaled = (difference - least[..., None, None]) / (most - least)[..., None, None]
    pairs = torch.combinations(torch.arange(n), r=2)
    return reference(scaled[pairs[:, 0]], scaled[pairs[:, 1]], 11, (0.33, 0.33, 0.33)).max()


def mixture(side=44):
    picture = 20 * torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(2))
    return AnalyticMixture(torch.cat([picture, 0 * picture]), [0.1, 2.0], PROMPTS)


@pytest.mark.parametrize("scheduler_step", [False, True])
def test_nemo_is_the_largest_over_pairs(make_prompts, scheduler_step):
    model = mixture()
    detectors = [NeMoSSIM("n", n=n, scheduler_step=scheduler_step) for n in (2, 5)]
    recorded = Engine(model, detectors).evaluate(PROMPTS, [0, 1], 11)
    for detector in detectors:
        scores = detector.combine(Recorded(recorded, make_prompts(PROMPTS, [1, 0])))
        expected = [literal(model, p, 11, detector.n, scheduler_step) for p in PROMPTS]
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
        assert scores[0] > scores[1] + 0.1


def test_t_961_is_read_on_pure_noise_without_a_scheduler_step(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    detectors = [
        NeMoSSIM("n", n=2, kernel=7, betas=(0.5, 0.5), scheduler_step=step)
        for step in (False, True)
    ]
    released, stepped = (
        next(iter(Engine(model, [detector]).evaluate(["red"], [0], 0).values()))[0, 1]
        for detector in detectors
    )
    changes = []
    for x in model.initial_noise(0, 2)[:, None]:
        change = (model.predict(x, 961, model.encode(["red"])).epsilon - x)[0]
        least, most = change.amin((1, 2)), change.amax((1, 2))
        changes.append(((change - least[:, None, None]) / (most - least)[:, None, None])[None])
    expected = reference(*changes, 7, (0.5, 0.5))
    assert released == pytest.approx(float(expected), rel=1e-4)
    assert abs(stepped - released) > 1e-4 * released


@pytest.mark.parametrize(
    ("side", "kernel", "scales", "fitting"),
    [
        (43, 11, 3, r"kernel=9 .*betas=\[0.333, 0.333, 0.333\]"),
        (12, 11, 3, r"kernel=3 .*betas=\[0.333, 0.333, 0.333\]"),
        (8, 11, 3, r"kernel=7 .*betas=\[0.5, 0.5\]"),
        (2, 11, 3, "no kernel fits"),
    ],
)
def test_latents_that_are_too_small_are_told_what_fits(side, kernel, scales, fitting):
    betas = [0.33] * scales
    with pytest.raises(ValueError, match="larger than"):
        reference(*pictures(side), kernel, betas)
    with pytest.raises(UserError, match=fitting) as caught:
        Engine(mixture(side), [NeMoSSIM("n", kernel=kernel, betas=betas)])
    assert "\n" not in str(caught.value)


def test_what_is_said_to_fit_does():
    for side, kernel, scales in itertools.product((8, 11, 12, 16, 23, 32), (3, 7, 11), (1, 2, 3)):
        detector = NeMoSSIM("n", kernel=kernel, betas=[0.33] * scales)
        try:
            detector._require_size(side)
        except UserError:
            continue
        first, second = pictures(side)
        expected = reference(first, second, kernel, detector.betas)
        torch.testing.assert_close(
            ms_ssim(first, second, kernel, detector.betas), expected, rtol=2e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 1}, "n must be an integer from 2, got 1"),
        ({"kernel": 10}, "kernel must be an odd integer, got 10"),
        ({"betas": []}, "betas must be positive"),
        ({"at": "961"}, "step:INDEX or t:VALUE"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        NeMoSSIM("n", **changes)


def test_a_scheduler_step_arrives_at_a_step():
    advice = r"n: timestep 960 is no step of a trajectory; give detector\.n\.at=step:0"
    with pytest.raises(UserError, match=advice):
        Engine(mixture(), [NeMoSSIM("n", at="t:960", scheduler_step=True)])
