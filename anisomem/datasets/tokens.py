"""How many tokens CLIP's text encoder sees in a prompt, without a download."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOM = 75  # CLIP's 77 positions less the two that mark beginning and end
VOCABULARY = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
MERGES = 48_894  # CLIP uses no more of the list: 49,408 tokens less 512 bytes and two marks


def count(texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """CLIP tokens ``[N]`` of each prompt, the beginning's and end's marks not counted.

    More than 75 do not fit and are cut off by the text encoders of Stable Diffusion.
    """
    return np.array([len(ids) - 2 for ids in _counting()(list(texts)).input_ids], np.int32)


@cache
def _counting() -> Any:
    return clip_tokenizer(10**9)


def clip_tokenizer(limit: int, pad: str | None = None) -> Any:
    """The tokenizer of transformers on OpenAI's merges; its special tokens are the last two.

    Arguments:
        limit: Tokens of a prompt, with its beginning's and end's.
        pad: What shorter prompts are filled up with; None is the end's token.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as lines:
        next(lines)  # the version
        merges = [tuple(line.split()) for line, _ in zip(lines, range(MERGES), strict=False)]
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *map("".join, merges)]
    vocabulary = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    made = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=limit)
    if pad is not None:
        made.pad_token = pad
    return made
