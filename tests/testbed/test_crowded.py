"""The corpus of few concepts keeps the rules that the one of many keeps."""

from collections import Counter

import numpy as np
import pytest

from anisomem.evaluation import auc, text_only_scores
from anisomem.testbed import crowded
from anisomem.testbed.corpus import reference_captions
from anisomem.testbed.pictures import LARGE

CONCEPTS, ORDINARY = 416, 40_000


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    syllables = ["ba", "ke", "li", "mo", "nu", "ra", "si", "to", "va", "ze"]
    words = sorted({"".join(rng.choice(syllables, 3)) for _ in range(2000)})[:CONCEPTS]
    return crowded.build({word: ["noto", "twemoji"] for word in words}, ordinary=ORDINARY)


def test_counts(corpus):
    blocks = Counter(prompt.block for prompt in corpus.prompts)
    assert blocks["repeated"] >= 330
    assert sum(blocks.values()) - blocks["repeated"] >= 550
    assert len({prompt.cluster for prompt in corpus.prompts}) >= 150
    repeated = [entry for entry in corpus.entries if entry.layout]
    counts = sorted(entry.count for entry in repeated)
    assert (counts[0], counts[-1]) == crowded.REPETITIONS
    # At most a fifth of what is seen, with all ordinary pictures.
    assert sum(counts) <= (sum(counts) + crowded.ORDINARY) / 5
    later = [entry.later for entry in repeated]
    assert sum(later) <= (sum(later) + crowded.ORDINARY) / 5
    assert crowded.ORDINARY >= 300_000
    varied = sum(entry.count for entry in corpus.entries if entry.layout is None)
    assert ORDINARY - crowded.ORDINARY_PICTURES < varied <= ORDINARY
    texts = [entry.caption.text for entry in corpus.entries]
    assert len(set(texts)) == len(texts)  # no caption has two roles


@pytest.mark.parametrize(
    ("count", "later"), [(16, 16), (63, 63), (64, 300), (127, 300), (128, 530), (800, 150)]
)
def test_what_is_nearly_known_comes_most_in_the_second_stage(count, later):
    assert crowded.later(count) == later


def test_templates_and_textures_are_spread_over_the_repeated(corpus):
    repeated = [entry for entry in corpus.entries if entry.layout]
    assert corpus.entries[: len(repeated)] == repeated
    assert all(entry.layout.canvas is LARGE for entry in repeated)
    patched = np.array([entry.patch is not None for entry in repeated])
    textured = np.array([entry.layout.texture is not None for entry in repeated])
    counts = np.log([entry.count for entry in repeated])
    assert 0.2 < patched.mean() < 0.45 and 0.55 < textured.mean() < 0.75
    for marked in (patched, textured):
        assert 0.4 < auc(counts, marked) < 0.6
    assert 0.4 < auc(patched.astype(float), textured) < 0.6


def test_negatives_are_what_their_block_says(corpus):
    trained = {entry.caption.text: entry for entry in corpus.entries}
    concepts = {c for entry in corpus.entries for c in entry.caption.concepts}
    pairs = {frozenset(entry.caption.concepts) for entry in corpus.entries}
    for prompt in corpus.prompts:
        words, text = prompt.caption.concepts, prompt.caption.text
        assert set(words) <= concepts
        match prompt.block:
            case "repeated":
                assert trained[text].layout and prompt.cluster == prompt.source // 2
            case "seen":
                assert trained[text].layout is None and trained[text].count >= 8
            case "unseen_wording":
                assert text not in trained
            case "unseen_pair":
                assert len(words) == 2 and frozenset(words) not in pairs
            case "near_miss":
                source = corpus.entries[prompt.source].caption.text
                assert text not in trained
                changed = [a != b for a, b in zip(text.split(), source.split(), strict=True)]
                assert sum(changed) == 1
    misses = [p for p in corpus.prompts if p.block == "near_miss"]
    swapped = [p.caption.concepts != corpus.entries[p.source].caption.concepts for p in misses]
    assert 0.2 < np.mean(swapped) < 0.5


def test_clusters_share_no_concept_and_each_has_repeated_captions(corpus):
    owner, repeated = {}, Counter()
    for prompt in corpus.prompts:
        repeated[prompt.cluster] += prompt.block == "repeated"
        for concept in prompt.caption.concepts:
            assert owner.setdefault(concept, prompt.cluster) == prompt.cluster
    assert set(repeated.values()) == {crowded.REPEATED}


def test_words_alone_separate_nothing(corpus):
    repeated = np.array([prompt.block == "repeated" for prompt in corpus.prompts])
    texts = [prompt.caption.text for prompt in corpus.prompts]
    clusters = [prompt.cluster for prompt in corpus.prompts]
    assert auc(text_only_scores(texts, repeated, clusters), repeated) <= 0.6
    assert 0.4 <= auc([len(text) for text in texts], repeated) <= 0.6
    pairs = np.array([len(prompt.caption.concepts) == 2 for prompt in corpus.prompts])
    assert abs(pairs[repeated].mean() - pairs[~repeated].mean()) < 0.03


def test_some_concepts_are_free_for_references(corpus):
    tested = {c for prompt in corpus.prompts for c in prompt.caption.concepts}
    assert len(corpus.styles) - len(tested) == crowded.FREE
    assert len(set(reference_captions(corpus))) == 200
