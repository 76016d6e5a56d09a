"""Recorded cross-attention against diffusers' own scores, and that recording changes nothing."""

from collections import defaultdict

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from anisomem.errors import UserError
from anisomem.models import unet_attention
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.unet_attention import AttentionRecorder

PROMPTS = ["a cat", "red", "a very red dog cat dog red dog cat dog"]  # the last is cut
UNETS = ["sd_v1", "sd_v2", "sdxl"]  # as many heads everywhere, heads by level, layers in a row


def classic(unet, run):
    """Maps by layer ``[n, heads, positions, tokens]`` from diffusers' explicit processor."""
    maps, processors = defaultdict(list), dict(unet.attn_processors)
    layers = {f"{name}.processor": layer for name, layer in unet.named_modules()}
    unet.set_attn_processor(AttnProcessor())
    for name in processors:
        if "attn2" in name:
            layer = layers[name]

            def scores(query, key, mask=None, layer=layer, name=name):
                found = type(layer).get_attention_scores(layer, query, key, mask)
                maps[name].append(found.unflatten(0, (-1, layer.heads)))
                return found

            layer.get_attention_scores = scores
    try:
        run()
    finally:
        unet.set_attn_processor(processors)
        for name in processors:
            vars(layers[name]).pop("get_attention_scores", None)
    return {name: torch.cat(found) for name, found in maps.items()}


@torch.no_grad()
@pytest.mark.parametrize("name", UNETS)
def test_maps_are_those_of_diffusers_and_predictions_stay(families, name):
    family = families[name]
    pipeline = family.build()
    model = family.model(pipeline)
    x = torch.cat([model.initial_noise(seed, 1) for seed in range(3)])
    encoded, t = model.encode(PROMPTS), 501
    plain = model.predict(x, t, encoded)
    before = dict(pipeline.unet.attn_processors)
    prediction, found = model.attend(x, t, encoded)
    assert torch.equal(prediction.raw, plain.raw)
    assert pipeline.unet.attn_processors == before

    maps = classic(pipeline.unet, lambda: model.predict(x, t, encoded))
    tokens = torch.stack([layer.mean(dim=(1, 2)) for layer in maps.values()], dim=1)
    torch.testing.assert_close(found.tokens, tokens, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.tokens.sum(-1), torch.ones(3, len(maps)))

    # The column of the first end-of-text token, at the length of the prompt.
    lengths = [len(ids) for ids in pipeline.tokenizer(PROMPTS, truncation=True).input_ids]
    assert lengths[-1] == pipeline.tokenizer.model_max_length
    down = [layer for layer_name, layer in maps.items() if layer_name.startswith("down")]
    most = max(layer.shape[2] for layer in down)
    highest = torch.stack([layer.mean(1) for layer in down if layer.shape[2] == most]).mean(0)
    side = int(most**0.5)
    for row, length in enumerate(lengths):
        expected = highest[row, :, length - 1].view(side, side)
        torch.testing.assert_close(found.end[row], expected, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_rows_and_parts_change_no_map(families, monkeypatch):
    family = families["sd_v2"]
    model = family.model(family.build())
    x = torch.cat([model.initial_noise(seed, 1) for seed in range(3)])
    encoded = model.encode(PROMPTS)
    _, whole = model.attend(x, 981, encoded)
    _, last = model.attend(x, 981, encoded, first=1)
    monkeypatch.setattr(unet_attention, "LARGEST", 1)  # a row at a time
    _, parts = model.attend(x, 981, encoded)
    for maps in ("tokens", "end"):
        torch.testing.assert_close(getattr(last, maps), getattr(whole, maps)[1:])
        torch.testing.assert_close(getattr(parts, maps), getattr(whole, maps))


@torch.no_grad()
def test_latents_that_are_not_square_keep_their_shape(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline(size=(8, 4)))
    _, found = model.attend(model.initial_noise(0, 1), 1, model.encode(["a cat"]))
    assert found.end.shape == (1, 8, 4)


def test_a_model_without_cross_attention_is_one_line():
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2), [1.0], ["it"])
    with pytest.raises(UserError, match=r"\(AnalyticMixture\) has no cross-attention"):
        model.attend(torch.zeros(1, 4, 2, 2), 1, model.encode(["it"]))
    with pytest.raises(UserError, match="no cross-attention where it samples down"):
        AttentionRecorder(slice(None), torch.zeros(1, dtype=torch.int64), (8, 8)).attention()
