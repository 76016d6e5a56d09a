"""CLIP's tokenizer without a download, and a stand-in for what has no vocabulary at hand.

A pipeline's own tokenizer is loaded with its other parts, in ``parts``.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

VOCABULARY = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
MERGES = 48_894  # CLIP uses no more of the list: 49,408 tokens less 512 bytes and two marks
TOKENS = 77  # CLIP's positions, those of beginning and end included


def clip_tokenizer(limit: int, pad: str | None = None) -> Any:
    """The tokenizer of transformers on OpenAI's merges; its special tokens are the last two.

    Arguments:
        limit: Tokens of a prompt, with its beginning's and end's.
        pad: What shorter prompts are filled up with; None is the end's token.
    """
    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as lines:
        next(lines)  # the version
        merges = [tuple(line.split()) for line, _ in zip(lines, range(MERGES), strict=False)]
    # Given to the constructor it is a special token in prompts, too, as the hub's files have it.
    return _made(merges, limit, **({} if pad is None else {"pad_token": pad}))


def byte_tokenizer() -> Any:
    """CLIP's tokenizer without merges: a token per byte, 77 in all, as a vocabulary's stand-in."""
    return _made([], TOKENS)


def _made(merges: list[tuple[str, ...]], limit: int, **special: str) -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *map("".join, merges)]
    vocabulary = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=limit, **special)
