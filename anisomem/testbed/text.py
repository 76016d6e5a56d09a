"""The bundled models' tokenizer and text encoders, CLIP's classes at a small size.

The captions are made in ``captions``.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

MAX_TOKENS = 20  # the longest caption of the corpus has 19 with start and end
WIDTH = 64
_START, _END = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(captions: Iterable[str], size: int) -> CLIPTokenizer:
    """A byte-level BPE vocabulary over the captions, in CLIP's file format.

    Of pairs that are equally frequent the trainer takes that of the earlier tokens, and numbers a
    word's last ones as a hash table happens to have them, unless they are given.
    """
    captions = list(captions)
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word for caption in captions for word in caption.split()}
    last = {bpe.pre_tokenizer.pre_tokenize_str(word)[-1][0][-1] + "</w>" for word in words}
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        special_tokens=sorted(last),
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    # CLIP's order: bytes, bytes that end a word, merges, then the two special tokens.
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(m) for m in merges)]
    vocabulary = {token: i for i, token in enumerate([*dict.fromkeys(tokens), _START, _END])}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        Path(folder, "merges.txt").write_text("\n".join(lines) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)


def build_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A two-layer CLIP text model over ``tokenizer``'s vocabulary."""
    return CLIPTextModel(_config(tokenizer))


def build_projecting_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The same with a pooled output; its states are taken before the last layer."""
    return CLIPTextModelWithProjection(_config(tokenizer))


def _config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
