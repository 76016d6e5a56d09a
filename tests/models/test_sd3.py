"""What is Stable Diffusion 3's own: two of CLIP's text encoders, each with a tokenizer."""

from copy import deepcopy

import pytest
import torch

from anisomem.models.sd3 import StableDiffusion3


def encoded_by_diffusers(pipeline, prompts):
    embeddings, _, pooled, _ = pipeline.encode_prompt(
        prompts, None, None, device="cpu", do_classifier_free_guidance=False
    )
    return embeddings, pooled


@pytest.mark.parametrize("alike", [True, False])
def test_tokens_are_made_once_only_by_like_tokenizers(families, alike, monkeypatch):
    pipeline = deepcopy(families["sd3_without_t5"].build())
    pipeline.tokenizer_2 = deepcopy(pipeline.tokenizer)
    pipeline.tokenizer(["a"], padding="max_length")  # what one was asked for is no difference
    if not alike:  # Stable Diffusion 3's second one fills up with "!"
        pipeline.tokenizer_2.pad_token = "a"
    model, asked = StableDiffusion3(pipeline), []
    made = model.tokens
    monkeypatch.setattr(model, "tokens", lambda *given: asked.append(given) or made(*given))
    prompts = ["a red cat", "a dog"]
    found = model.encode(prompts)
    assert len(asked) == (1 if alike else 2)
    for own, theirs in zip(
        (found.embeddings, found.pooled), encoded_by_diffusers(pipeline, prompts), strict=True
    ):
        torch.testing.assert_close(own, theirs)
    other = StableDiffusion3(deepcopy(families["sd3_without_t5"].build())).encode(prompts)
    assert torch.equal(other.embeddings, found.embeddings) == alike
