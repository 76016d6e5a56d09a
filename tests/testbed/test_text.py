"""The vocabulary of the bundled models."""

import numpy as np

from anisomem.testbed import text

LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def test_a_vocabulary_is_of_the_captions_alone():
    """Of many captions, which are counted side by side, and with many pairs equally frequent."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(LETTERS, rng.integers(3, 9))) for _ in range(600)]
    captions = [" ".join(row) for row in rng.choice(words, (40_000, 3))]
    made = [text.train_tokenizer(captions, 1400) for _ in range(4)]
    first = made[0].get_vocab()
    assert all(tokenizer.get_vocab() == first for tokenizer in made)
    assert len(first) > 1400


def test_a_frequent_word_is_one_token():
    tokenizer = text.train_tokenizer(["red fox", "red owl", "red hen"] * 5, 400)
    assert tokenizer.tokenize("red fox")[0] == "red</w>"
