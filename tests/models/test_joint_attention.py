"""Tokens that are all the same, taken once, are what they were."""

import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import JointAttnProcessor2_0

from anisomem.models.joint_attention import JointAttention, taken_once


@pytest.fixture(params=["plain", "as SD3.5"])
def network(request):
    torch.manual_seed(0)
    more = {} if request.param == "plain" else {"dual_attention_layers": (0,)}
    network = SD3Transformer2DModel(
        sample_size=4,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        caption_projection_dim=16,
        joint_attention_dim=12,
        pooled_projection_dim=6,
        pos_embed_max_size=4,
        qk_norm=None if request.param == "plain" else "rms_norm",
        **more,
    )
    return network.eval().double()


@pytest.fixture
def given():
    torch.manual_seed(1)
    x, pooled = torch.randn(3, 4, 4, 4), torch.randn(3, 6)
    tokens = torch.nn.functional.pad(torch.randn(3, 5, 12), (0, 0, 0, 256))
    return x.double(), tokens.double(), pooled.double(), torch.tensor([900.0, 500.0, 10.0])


def test_is_diffusers_own_where_no_token_stands_for_more(network, given):
    found, expected = [], []
    for processor, results in ((JointAttention(), found), (JointAttnProcessor2_0(), expected)):
        network.set_attn_processor(processor)
        results.append(network(*given).sample)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_one_token_that_stands_for_many_is_these_and_so_are_its_derivatives(network, given):
    x, tokens, pooled, t = given
    results = []
    for short in (False, True):
        e = tokens.clone().requires_grad_()
        network.set_attn_processor(JointAttention() if short else JointAttnProcessor2_0())
        states, standing = e, None
        if short:
            states, standing = taken_once(e, 256), {"standing_for": 256}
            assert states.shape == (3, 6, 12)
        output = network(x, states, pooled, t, joint_attention_kwargs=standing).sample
        (gradient,) = torch.autograd.grad(output.square().sum(), e)
        results.append((output.detach(), gradient))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    with torch.no_grad():  # they do matter
        uncounted = network(x, taken_once(tokens, 256), pooled, t).sample
    assert (uncounted - results[0][0]).abs().max() > 1e-3


def test_tokens_that_differ_are_not_taken_once(given):
    tokens = given[1]
    tokens[1, -3, 0] = 1e-9
    assert taken_once(tokens, 256) is None
    assert taken_once(tokens, 2) is not None


def test_a_family_takes_them_once_and_only_where_it_has_no_t5(families, monkeypatch):
    lengths = {}
    for name in ("sd3", "sd3_without_t5"):
        family = families[name]
        model = family.model(family.build())
        forward, seen = model.denoiser.forward, []

        def watched(*args, forward=forward, seen=seen, **kwargs):
            seen.append(kwargs["encoder_hidden_states"].shape[1])
            return forward(*args, **kwargs)

        monkeypatch.setattr(model.denoiser, "forward", watched)
        prompts = model.encode(["a cat", ""])
        model.predict(model.initial_noise(0, 2), model.timesteps()[3], prompts)
        lengths[name] = prompts.embeddings.shape[1] - seen[0]
    assert lengths == {"sd3": 0, "sd3_without_t5": 255}
