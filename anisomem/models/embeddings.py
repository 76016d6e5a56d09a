"""Puts learned embeddings (textual inversion, Gal et al., ICLR 2023) on a pipeline.

An embedding is a word of a prompt that no vocabulary has: one vector, or several that stand for
the word one after another. A pipeline with two text encoders needs the word in both.
"""

from __future__ import annotations

import re

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors.torch import load_file
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models import parts
from anisomem.models.adapters import Adapter
from anisomem.models.agreement import Reader

#: What files for two encoders call the vectors of each, by the encoder's name.
BY_ENCODER = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
LONGEST = 100  # letters of a word


def learn(pipeline: DiffusionPipeline, readers: list[Reader], adapter: Adapter) -> list[str]:
    """Adds a word to the tokenizers of a pipeline, and its vectors to the text encoders.

    Arguments:
        pipeline: The pipeline, whose tokenizers and text encoders are changed.
        readers: Its text encoders.
        adapter: The embedding.

    Returns:
        The tokens that are new, the word itself first.

    Raises:
        UserError: It is for other text encoders, its word is taken or no word, or no numbers.
    """
    file, word = adapter.file, adapter.word
    if not isinstance(pipeline, TextualInversionLoaderMixin):
        raise UserError(f"{file}: a {type(pipeline).__name__} takes no learned embeddings")
    if not re.fullmatch(r"\S+", word) or len(word) > LONGEST or not word.isprintable():
        raise UserError(
            f"{file} names its word {word[:LONGEST]!r}; expected up to {LONGEST} letters and signs"
            " without spaces"
        )
    vectors = parts.made(file, "embedding", lambda: load_file(file))
    new: list[str] = []
    for reader, given in _by_reader(pipeline, readers, adapter, vectors):
        given = given.float().reshape(-1, given.shape[-1])
        _require(adapter, reader, given)
        before = len(reader.tokenizer)
        parts.made(
            file,
            "embedding",
            lambda reader=reader, given=given: pipeline.load_textual_inversion(  # type: ignore[misc]
                {word: given}, tokenizer=reader.tokenizer, text_encoder=reader.encoder
            ),
        )
        reader.encoder.requires_grad_(False)
        new = reader.tokenizer.convert_ids_to_tokens(range(before, len(reader.tokenizer)))
        _require_read(pipeline, adapter, reader, given)
    return new


def _by_reader(
    pipeline: DiffusionPipeline,
    readers: list[Reader],
    adapter: Adapter,
    vectors: dict[str, Tensor],
) -> list[tuple[Reader, Tensor]]:
    """Which vectors each text encoder is given."""
    if len(readers) == 1 and len(vectors) == 1:
        return [(readers[0], next(iter(vectors.values())))]
    expected = {BY_ENCODER.get(reader.name, reader.name): reader for reader in readers}
    if len(readers) == 1 or set(vectors) != set(expected):
        wanted = "one tensor" if len(readers) == 1 else " and ".join(sorted(expected))
        raise UserError(
            f"{adapter.file} holds {', '.join(sorted(vectors))[:120]}, and the text encoders of a"
            f" {type(pipeline).__name__} are {len(readers)}: expected {wanted}; it was made for"
            " another model"
        )
    return [(expected[name], vectors[name]) for name in sorted(expected)]


def _require(adapter: Adapter, reader: Reader, given: Tensor) -> None:
    """Checks that a text encoder can read vectors, and that their word is free."""
    rows, width = given.shape
    expected = reader.encoder.get_input_embeddings().weight.shape[1]
    if width != expected:
        raise UserError(
            f"{adapter.file} has vectors of {width} numbers, and {reader.name} reads {expected};"
            " it was made for another model"
        )
    if not given.isfinite().all():
        raise UserError(f"{adapter.file}: a vector is NaN or infinite")
    room = reader.limit - 2
    if not 1 <= rows <= room:
        raise UserError(f"{adapter.file} has {rows} vectors, and a prompt takes 1 to {room}")
    known = reader.tokenizer.get_vocab()
    for token in (adapter.word, *(f"{adapter.word}_{i}" for i in range(1, rows + 1))):
        if token in known:
            raise UserError(
                f"{adapter.file}: {reader.name} knows the word {token!r} already; rename the"
                " embedding's, or leave out what else brings it"
            )


def _require_read(
    pipeline: DiffusionPipeline, adapter: Adapter, reader: Reader, given: Tensor
) -> None:
    """Checks that a prompt with the word reaches the encoder as the vectors, in their order."""
    text = pipeline.maybe_convert_prompt(f"a {adapter.word}", reader.tokenizer)
    ids = torch.tensor(reader.tokenizer(text).input_ids)
    ids = ids[ids >= len(reader.tokenizer) - len(given)]
    rows = reader.encoder.get_input_embeddings().weight[ids]
    if rows.shape != given.shape or not torch.equal(rows, given.to(rows)):
        raise UserError(
            f"{adapter.file}: {reader.name.replace('text_encoder', 'tokenizer')} does not make its"
            f" vectors of the word {adapter.word!r}; rename the embedding's"
        )
