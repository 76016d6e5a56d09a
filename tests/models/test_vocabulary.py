"""Tokenizers and text encoders that do not belong together: each fault is one line."""

import json

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from anisomem.models import vocabulary as vocabulary_of
from anisomem.models.families import load
from tests.models.folders import edited, refused, rekeyed


def test_a_tokenizer_without_its_vocabulary_is_refused(saved):
    folder = saved("sd_v1")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    refused(folder, f"{folder / 'tokenizer'} has no vocabulary", "merges.txt")


def vocabulary(folder, change):
    """Changes what tokenizer.json holds."""
    file = folder / "tokenizer" / "tokenizer.json"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))


def test_merges_that_are_missing_are_noticed(saved):
    folder = saved("sd_v1")
    vocabulary(folder, lambda found: found["model"].update(merges=[]))
    refused(folder, "tokenizer cannot reach 6 of its", "merges are missing")


def test_a_vocabulary_of_unknown_words_is_refused(saved):
    folder = saved("sd3")
    file = folder / "tokenizer_3" / "tokenizer.json"
    found = json.loads(file.read_text())
    found["model"]["vocab"] = [
        [token if token.startswith("<") else f"☃{i}", score]
        for i, (token, score) in enumerate(found["model"]["vocab"])
    ]
    file.write_text(json.dumps(found))
    refused(folder, "tokenizer_3 makes the same tokens of")


def test_a_token_without_an_embedding_is_refused(saved):
    folder = saved("sd_v1")

    def more(found):
        first = dict(found["added_tokens"][0])
        found["added_tokens"].append(first | {"id": 520, "content": "<cat-toy>"})

    vocabulary(folder, more)
    refused(folder, "tokenizer has 521 tokens", "embeddings of 520", "'<cat-toy>'")


def test_another_models_tokenizer_is_refused(saved):
    folder = saved("sd_v1")
    file = folder / "text_encoder" / "model.safetensors"
    wide = torch.nn.functional.pad
    rekeyed(file, lambda k, v: {k: wide(v, (0, 0, 0, 9480)) if "token_embedding" in k else v})
    edited(folder / "text_encoder" / "config.json", vocab_size=10_000)
    refused(folder, "tokenizer has 520 tokens", "embeddings of 10,000", "not saved whole")


@pytest.mark.parametrize("limit", ["missing", 10**30, 77, 11, float("inf")])
def test_a_limit_beyond_the_encoders_positions_is_theirs(saved, limit):
    folder = saved("sd_v1")
    file = folder / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["model_max_length"]
    file.write_text(
        json.dumps(settings if limit == "missing" else settings | {"model_max_length": limit})
    )
    model = load(str(folder), device="cpu")
    assert model.pipeline.tokenizer.model_max_length == 10
    long = "a very red cat and a dog " * 40
    assert model.encode([long]).tensors["embeddings"].shape == (1, 10, 8)
    assert model.truncated([long, "a cat"]) == 1


@pytest.mark.parametrize("limit", [0, 2, -1])
def test_a_limit_without_room_is_refused(saved, limit):
    folder = saved("sd_v1")
    edited(folder / "tokenizer" / "tokenizer_config.json", model_max_length=limit)
    refused(folder, f"model_max_length={limit}", "no room for a prompt")


def test_a_shorter_limit_is_the_tokenizers(saved):
    folder = saved("sd_v1")
    edited(folder / "tokenizer" / "tokenizer_config.json", model_max_length=7)
    model = load(str(folder), device="cpu")
    assert model.encode(["a cat"]).tensors["embeddings"].shape == (1, 7, 8)


def test_encoders_of_different_lengths_are_refused(saved):
    folder = saved("sdxl")
    edited(folder / "tokenizer_2" / "tokenizer_config.json", model_max_length=7)
    refused(folder, "10 and 7 tokens of a prompt")


def test_a_pooled_state_at_another_token_is_refused(saved):
    folder = saved("sdxl")
    edited(folder / "text_encoder_2" / "config.json", eos_token_id=5)
    refused(folder, "text_encoder_2 takes a prompt's state at token 5", "ends prompts with 519")
    edited(folder / "text_encoder_2" / "config.json", eos_token_id=2)  # at the largest token
    load(str(folder), device="cpu")


def test_a_text_encoder_of_another_model_is_refused(saved):
    folder = saved("sd_v1")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    config = encoder.config
    config.hidden_size, config.intermediate_size = 16, 32
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    refused(folder, "cross_attention_dim: 16 given, 8 expected; the parts are of two models")


def test_the_token_that_pads_is_one_in_prompts_too(tmp_path):
    """As in the files of Stable Diffusion 2 and XL, where an exclamation mark pads."""
    made = vocabulary_of.clip_tokenizer(77, "!")
    ids = made("wow! a cat").input_ids
    assert made.pad_token_id == 0 and ids[2] == 0
    made.save_pretrained(tmp_path)
    assert CLIPTokenizer.from_pretrained(tmp_path)("wow! a cat").input_ids == ids
    assert 0 not in vocabulary_of.clip_tokenizer(77)("wow! a cat").input_ids
