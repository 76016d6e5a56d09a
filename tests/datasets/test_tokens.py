"""CLIP's tokens from the vocabulary that comes with the package."""

import numpy as np

from anisomem.datasets import published, tokens


def test_ids_are_those_of_clip():
    # Known from OpenAI's tokenizer: special tokens, "a", "photo", "of", "a", "cat".
    ids = tokens.clip_tokenizer(77)("a photo of a cat").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokens.count(["a photo of a cat", "A PHOTO", "cat " * 100]).tolist() == [5, 2, 100]


def test_counts_of_the_real_lists(real):
    counts = tokens.count((prompts := published.load("sd14_webster500", real)).texts)
    others, memorized = counts[prompts.labels == 0], counts[prompts.labels == 1]
    assert ((others > tokens.ROOM).sum(), others.max()) == (6, 117)
    assert (np.median(memorized), memorized.max()) == (16, 42)
