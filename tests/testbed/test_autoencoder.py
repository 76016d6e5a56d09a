"""The autoencoder's further training leaves the latents alone."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from anisomem.config import catalog
from anisomem.testbed import autoencoder
from anisomem.testbed.autoencoder import Autoencoder, to_tensor

KIND = Autoencoder(16, (8, 8, 8), 8, steps=3, batch=2, rate=1e-2, polished=(8, 4))


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)


def encoded(vae, pictures):
    with torch.no_grad():
        return vae.encode(to_tensor(pictures)).latent_dist.mean


def test_polishing_changes_the_decoder_and_not_the_latents(pictures, tmp_path):
    vae = autoencoder.train(KIND, pictures, tmp_path / "vae.pt")
    before, drawn = encoded(vae, pictures), torch.randn(2, 4, 4, 4)
    decoded = vae.decode(drawn).sample
    polished = autoencoder.polish(KIND, vae, pictures, tmp_path / "decoder.pt")
    torch.testing.assert_close(encoded(polished, pictures), before, rtol=0, atol=0)
    assert (polished.decode(drawn).sample - decoded).abs().max() > 1e-3
    # The same command again finds all steps done.
    again = autoencoder.polish(KIND, autoencoder.build(KIND), pictures, tmp_path / "decoder.pt")
    torch.testing.assert_close(again.decode(drawn).sample, polished.decode(drawn).sample)


def test_it_can_begin_with_a_bundled_one(pictures, tmp_path):
    kind = Autoencoder(16, (32, 64, 64), 8, steps=1, batch=2, rate=0, start="epsilon")
    begun = autoencoder.train(kind, pictures, tmp_path / "vae.pt")
    bundled = AutoencoderKL.from_pretrained(catalog.testbed("epsilon"), subfolder="vae")
    torch.testing.assert_close(begun.state_dict(), bundled.state_dict(), rtol=0, atol=0)


def test_scaled_latents_have_unit_variance(pictures):
    torch.manual_seed(0)
    vae = autoencoder.build(KIND).eval()
    factor = autoencoder.scaling_factor(vae, pictures)
    with torch.no_grad():
        posterior = vae.encode(to_tensor(np.repeat(pictures, 50, 0))).latent_dist
        drawn = factor * posterior.sample()
    # Around the mean of all channels together, as Stable Diffusion's factor was computed.
    assert float(drawn.var()) == pytest.approx(1, abs=0.02)
