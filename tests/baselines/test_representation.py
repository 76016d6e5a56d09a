"""The spread of a representation against activations read elsewhere in the network."""

import numpy as np
import pytest
import torch
from anisomem.baselines.representation import RepresentationSpread

from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS, SEED = ["a cat", "red dog"], 7


def drawn(shape):
    """The noise, by the seed, the number of the noise sample, and what it is for."""
    entropy = np.random.SeedSequence([SEED, 0, 0, *b"noise"])
    seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture(scope="module")
def model(make_pipeline):
    return DiffusersUNet(make_pipeline(dtype=torch.float64))


def test_it_is_the_deviation_of_the_largest_activations(model):
    last, mean = RepresentationSpread("last"), RepresentationSpread("mean", layer="mean")
    early = RepresentationSpread("early", at="t:300")
    recorded = Engine(model, [last, mean, early]).evaluate(PROMPTS, [0, 1], SEED)
    layers = model.denoiser.up_blocks[0].resnets
    assert len(layers) == 2
    noise = model.initial_noise(SEED, 1).double().expand(2, -1, -1, -1)
    end = model.sample(noise, model.encode(PROMPTS))
    for t, detectors in ((10, [last, mean]), (300, [early])):
        alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(t)))
        given = []  # what the second convolution of a layer is given is the activation
        hooks = [
            layer.conv2.register_forward_pre_hook(lambda _, args, to=given: to.append(args[0]))
            for layer in layers
        ]
        noised = alpha * end + sigma * drawn(model.latent_shape)
        model.predict(noised, t, model.encode(["", ""]))
        for hook in hooks:
            hook.remove()
        spreads = np.stack([one.numpy().max(axis=(2, 3)).std(axis=1) for one in given])
        for detector in detectors:
            expected = spreads.mean(axis=0) if detector is mean else spreads[-1]
            found = recorded[detector.component_names[0]][:, 0]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert (found > 0.01).all()


def test_reading_changes_no_prediction_and_leaves_nothing_behind(model):
    x, empty = model.initial_noise(1, 2).double(), model.encode(["", "a cat"])
    prediction, activations = model.represent(x, 10, empty)
    assert torch.equal(prediction.raw, model.predict(x, 10, empty).raw)
    assert activations.shape == (2, 2, 16)
    assert not any(module._forward_hooks for module in model.denoiser.modules())


def test_half_precision_is_read_in_float32(make_pipeline):
    half = DiffusersUNet(make_pipeline(dtype=torch.bfloat16))
    _, activations = half.represent(half.initial_noise(1, 1), 10, half.encode([""]))
    assert activations.dtype == torch.float32 and activations.isfinite().all()


def test_a_model_without_up_sampling_blocks_is_refused_in_one_line():
    model = AnalyticMixture(torch.zeros(1, 4, 8, 8), [1.0], ["it"])
    with pytest.raises(UserError, match=r"^r: the model .* has no up-sampling blocks.*leave out"):
        Engine(model, [RepresentationSpread("r")])
