"""Changes of the text, the padding and the attention, and no change at all."""

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from anisomem.errors import UserError
from anisomem.mitigation.augmentation import RandomNumbers, RandomTokens, RepeatWords
from anisomem.mitigation.base import Mitigated
from anisomem.mitigation.none import NoMitigation
from anisomem.mitigation.padding import PaddingMask
from anisomem.mitigation.ren import RenAttention
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.attention import Edit

SEEDS = [0, 0]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_none_is_diffusers_own_pipeline_to_the_pixel(build, prediction):
    model = build(prediction_type=prediction)
    prompts = ["a red cat", "dog"]
    for prompt in prompts:
        expected = model.pipeline(
            prompt,
            num_inference_steps=20,
            guidance_scale=7.5,
            generator=torch.Generator().manual_seed(11),
            output_type="np",
        ).images
        x = model.initial_noise(11, 1)
        found = NoMitigation("none")(model, [prompt], x, [11])
        pictures = model.decode(found.sample(model, 20, 7.5))
        assert np.array_equal(pictures, (expected * 255).round().astype(np.uint8))
        assert torch.equal(found.x, x) and found.efforts[0].nfe == 0


def by_hand(model, x, t, conditioning, keep, factor):
    """The prediction with masked and rescaled logits, layer by layer in diffusers' own words."""
    unet, processors = model.pipeline.unet, dict(model.pipeline.unet.attn_processors)
    unet.set_attn_processor(AttnProcessor())
    layers = [layer for name, layer in unet.named_modules() if name.endswith("attn2")]
    for layer in layers:

        def scores(query, key, mask=None, layer=layer):
            logits = layer.scale * query @ key.mT  # [rows * heads, positions, tokens]
            logits[..., 0] *= factor.repeat_interleave(layer.heads)[:, None]
            hidden = ~keep.repeat_interleave(layer.heads, 0)[:, None]
            return logits.masked_fill(hidden, -torch.inf).softmax(-1)

        layer.get_attention_scores = scores
    try:
        return model.predict(x, t, conditioning).raw
    finally:
        unet.set_attn_processor(processors)
        for layer in layers:
            del layer.get_attention_scores


@torch.no_grad()
@pytest.mark.parametrize("v2", [False, True], ids=["equal heads", "heads by level"])
@pytest.mark.parametrize("unconditional", ["masked", "plain"])
@pytest.mark.parametrize("end", ["masked", "kept"])
def test_ren_masks_and_rescales_the_rows_with_prompts(build, v2, unconditional, end):
    model = build(dtype=torch.float64, v2=v2)
    prompts = ["a red cat", "dog", "red dog cat"]
    x = torch.cat([model.initial_noise(seed, 1) for seed in range(3)]).double()
    method = RenAttention("ren", factor=1.4, end=end, unconditional=unconditional)
    found = method(model, prompts, x, [0, 1, 2])
    given = model.encode(prompts)
    assert torch.equal(found.conditioning.tensors["embeddings"], given.tensors["embeddings"])

    position, ends = torch.arange(10), given.tensors["end"][:, None]
    keep = position <= ends if end == "kept" else position < ends
    without = keep if unconditional == "masked" else torch.ones_like(keep)
    factor = torch.tensor([1.0] * 3 + [1.4] * 3, dtype=torch.float64)
    both = type(given).cat([model.encode([""] * 3), given])
    twice = x.repeat(2, 1, 1, 1)
    plain = model.predict(twice, 501, both).raw
    with found.hooks(model):
        changed = model.predict(twice, 501, both).raw
        alone = model.predict(x, 501, given).raw
    expected = by_hand(model, twice, 501, both, torch.cat([without, keep]), factor)
    torch.testing.assert_close(changed, expected)
    torch.testing.assert_close(alone, changed[3:])
    assert not torch.allclose(changed[3:], plain[3:])
    assert torch.allclose(changed[:3], plain[:3]) == (unconditional == "plain")
    assert torch.equal(model.predict(twice, 501, both).raw, plain)  # and is gone afterwards
    with found.hooks(model), pytest.raises(ValueError, match="a pass of 4 rows"):
        model.predict(twice[:4], 501, both[:4])


@torch.no_grad()
def test_ren_beside_rows_without_it(model, prompts, noise):
    """Rows of several mitigations are sampled together as they are alone."""
    parts = [
        method(model, [prompt], noise[:1], [0])
        for method, prompt in zip(
            (NoMitigation("none"), RenAttention("ren")), prompts, strict=True
        )
    ]
    whole = Mitigated.cat(parts)[[1, 0]].sample(model, 4)
    for row, part in zip(whole, reversed(parts), strict=True):
        torch.testing.assert_close(row, part.sample(model, 4)[0])


def test_ren_with_factor_one_and_no_padding_is_the_model(model, noise):
    full = "cat dog red cat dog red cat dog red cat dog"  # cut: the end token comes last
    method = RenAttention("ren", factor=1.0, end="kept", unconditional="plain")
    found = method(model, [full, full], noise, SEEDS)
    plain = NoMitigation("none")(model, [full, full], noise, SEEDS)
    torch.testing.assert_close(found.sample(model, 3), plain.sample(model, 3))


def test_additions_by_seed_and_prompt(model, prompts, noise):
    count = 3
    for kind in (RandomTokens, RandomNumbers, RepeatWords):
        method = kind("added", count=count)
        found = method(model, prompts, noise, SEEDS)
        assert found.texts == method(model, prompts[::-1], noise, SEEDS).texts[::-1]
        assert found.texts != method(model, prompts, noise, [1, 1]).texts
        for text, longer in zip(prompts, found.texts, strict=True):
            words = iter(longer.split(" "))
            assert all(word in words for word in text.split(" "))  # in order
        expected = model.encode(found.texts).tensors["embeddings"]
        assert torch.equal(found.conditioning.tensors["embeddings"], expected)


def test_what_is_added(model, noise):
    """Where it stands is uniform, both ends included; what it is, is of its kind."""
    places, words = [], []
    for seed in range(400):
        (text,) = RandomNumbers("n", count=1)(model, ["a red cat"], noise[:1], [seed]).texts
        (place,) = [i for i, word in enumerate(text.split(" ")) if word.isdecimal()]
        places.append(place)
        words.append(int(text.split(" ")[place]))
    counts = np.bincount(places, minlength=4)
    assert ((counts - 100) ** 2 / 100).sum() < 16.3  # chi-squared with 3 degrees, p = 0.001
    assert max(words) < 100_000 and np.mean(words) == pytest.approx(50_000, rel=0.1)

    # Released: repeated words come from the prompt itself, not from what was added.
    for seed in range(20):
        (text,) = RepeatWords("r", count=50)(model, ["a red cat"], noise[:1], [seed]).texts
        assert set(text.split(" ")) == {"a", "red", "cat"}
        assert abs(text.split(" ").count("red") - 53 / 3) < 14  # a Polya urn would stray
    (text,) = RandomTokens("t", count=50)(model, ["a red cat"], noise[:1], [0]).texts
    assert "<|" not in text


def test_a_prompt_cut_by_additions_is_said(model, noise):
    long = "cat dog red cat dog red"
    found = RepeatWords("r", count=4)(model, [long, "dog"], noise, SEEDS)
    assert [effort.note for effort in found.efforts] == ["the longer prompt is cut", ""]


def test_masked_padding(model, prompts, noise):
    """Released: the first int(pads * share) of the padding; words and end stay."""
    given = model.encode(prompts).tensors
    for share in (0.0, 0.5, 0.7, 1.0):
        found = PaddingMask("p", share=share)(model, prompts, noise, SEEDS)
        embeddings = found.conditioning.tensors["embeddings"]
        for row, own, end in zip(embeddings, given["embeddings"], given["end"], strict=True):
            masked = int((10 - (end + 1)) * share)
            expected = own.clone()
            expected[end + 1 : end + 1 + masked] = 0
            assert torch.equal(row, expected)


def test_replaced_padding(model, prompts, noise):
    tokenizer = model.pipeline.tokenizer
    before = tokenizer.pad_token
    found = PaddingMask("p", padding="replace")(model, prompts, noise, SEEDS)
    assert tokenizer.pad_token == before == "<|endoftext|>"
    ids = tokenizer(prompts, padding="max_length").input_ids
    exclamation = tokenizer.convert_tokens_to_ids("!")
    for i, end in enumerate([4, 2]):
        ids[i][end + 1 :] = [exclamation] * (9 - end)
    with torch.no_grad():
        expected = model.pipeline.text_encoder(torch.tensor(ids)).last_hidden_state.double()
    expected[0, 4], expected[1, 2] = 0, 0
    torch.testing.assert_close(found.conditioning.tensors["embeddings"], expected)


def test_models_without_what_is_changed_are_refused():
    means = torch.zeros(1, 1, 2, 2)
    model = AnalyticMixture(means, [0.5], ["a"])
    x = model.initial_noise(0, 1)
    for method in (RenAttention("ren"), PaddingMask("pad")):
        with pytest.raises(UserError, match=r"where a prompt's text ends; (pad|ren) must know it"):
            method(model, ["a"], x, [0])
    with pytest.raises(UserError, match=r"\(AnalyticMixture\) has no tokenizer; tokens draws"):
        RandomTokens("tokens")(model, ["a"], x, [0])
    with pytest.raises(UserError, match="has no cross-attention"):
        model.edited(Edit(torch.ones(1, 2).bool(), torch.ones(1), torch.ones(1, 2).bool()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RenAttention("r", factor=0), "factor must be a number above 0, got 0"),
        (lambda: RenAttention("r", end="mask"), "did you mean 'masked'"),
        (lambda: RepeatWords("r", count=0), "count must be an integer from 1, got 0"),
        (lambda: PaddingMask("p", share=1.5), "share must be a number from 0 to 1, got 1.5"),
        (lambda: PaddingMask("p", padding="masks"), "did you mean 'mask'"),
    ],
)
def test_options_out_of_range_are_one_line(make, message):
    with pytest.raises(UserError, match=message):
        make()
