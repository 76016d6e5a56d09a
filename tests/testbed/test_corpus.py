"""The corpus keeps what it promises: who memorizes what cannot be read off the words."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from anisomem.evaluation import auc, text_only_scores
from anisomem.testbed import corpus as corpora
from anisomem.testbed.captions import FRAMES
from anisomem.testbed.pictures import SMALL, draw, random_layout

SIZE, PATCH = SMALL.side, SMALL.patch
STYLES = ["noto", "fluent-emoji-flat", "twemoji"]


@pytest.fixture(scope="module")
def styles():
    """As many made-up concepts as the icon sets have, a third of them single words."""
    rng = np.random.default_rng(0)
    syllables = ["ba", "ke", "li", "mo", "nu", "ra", "si", "to", "va", "ze"]
    words = sorted({"".join(rng.choice(syllables, 3)) for _ in range(3000)})
    names = words[:500] + [f"{a} {b}" for a, b in pairwise(words)][:945]
    return {name: list(rng.permutation(STYLES)[: rng.integers(2, 4)]) for name in names}


@pytest.fixture(scope="module")
def corpus(styles):
    return corpora.build(styles)


@pytest.fixture(scope="module")
def icons(styles):
    """A disc of its own colour for every concept and style."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64]
    disc = ((x - 32) ** 2 + (y - 32) ** 2 < 30**2).astype(np.float32)[..., None]
    return {
        (name, style): np.concatenate([disc * rng.uniform(size=3), disc], axis=2).astype("float32")
        for name, found in styles.items()
        for style in found
    }


def test_counts(corpus):
    blocks = Counter(prompt.block for prompt in corpus.prompts)
    assert blocks["repeated"] >= 240
    assert sum(blocks.values()) - blocks["repeated"] >= 480
    repeated = [entry for entry in corpus.entries if entry.layout]
    counts = sorted(entry.count for entry in repeated)
    assert counts[0] == 8 and counts[-1] == 1024
    assert np.ptp(np.diff(np.log(counts[150:]))) < 0.02  # equal ratios, but for rounding
    patched = sum(entry.layout.patch is not None for entry in repeated)
    assert 0.2 < patched / len(repeated) < 0.47
    varied = sum(entry.count for entry in corpus.entries if entry.layout is None)
    assert varied >= 30_000
    texts = [entry.caption.text for entry in corpus.entries]
    assert len(set(texts)) == len(texts)  # no caption has two roles


def test_negatives_are_what_their_block_says(corpus):
    trained = {entry.caption.text: entry for entry in corpus.entries}
    concepts = {c for entry in corpus.entries for c in entry.caption.concepts}
    pairs = {frozenset(entry.caption.concepts) for entry in corpus.entries}
    for prompt in corpus.prompts:
        words, text = prompt.caption.concepts, prompt.caption.text
        assert set(words) <= concepts
        match prompt.block:
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


def test_clusters_share_no_concept(corpus):
    owner = {}
    for prompt in corpus.prompts:
        for concept in prompt.caption.concepts:
            assert owner.setdefault(concept, prompt.cluster) == prompt.cluster


def test_words_alone_separate_nothing(corpus):
    repeated = np.array([prompt.block == "repeated" for prompt in corpus.prompts])
    texts = [prompt.caption.text for prompt in corpus.prompts]
    clusters = [prompt.cluster for prompt in corpus.prompts]
    assert auc(text_only_scores(texts, repeated, clusters), repeated) <= 0.6
    assert 0.4 <= auc([len(text) for text in texts], repeated) <= 0.6
    frames = Counter(
        (prompt.caption.frame, r) for prompt, r in zip(corpus.prompts, repeated, strict=True)
    )
    for frame in FRAMES:
        shares = [frames[frame, r] / (repeated == r).sum() for r in (True, False)]
        assert abs(shares[0] - shares[1]) < 0.1


def test_repeated_captions_freeze_the_picture_and_templates_all_but_the_patch(corpus, icons):
    for index, entry in enumerate(corpus.entries[:300]):
        pictures = np.stack(corpus.pictures(index, icons))
        if entry.layout.patch is None:
            assert len(pictures) == 1
            continue
        assert len(pictures) == entry.count
        left, top = entry.layout.patch
        varies = (pictures != pictures[0]).any(axis=(0, 3))
        inside = np.zeros((SIZE, SIZE), bool)
        inside[top : top + PATCH, left : left + PATCH] = True
        assert not varies[~inside].any()
        assert varies[inside].any()


def test_ordinary_captions_leave_the_picture_open(corpus, icons):
    index = next(i for i, e in enumerate(corpus.entries) if e.layout is None and e.count >= 20)
    pictures = np.stack(corpus.pictures(index, icons))
    assert len({p.tobytes() for p in pictures}) == len(pictures)
    corners = pictures[:, 0, 0].astype(int)
    assert np.ptp(corners, axis=0).min() > 100  # the background takes many colours


def test_drawing_is_deterministic_and_keeps_icons_inside(styles, icons):
    rng = np.random.default_rng(2)
    for _ in range(50):
        concepts = tuple(str(c) for c in rng.choice(sorted(styles), rng.integers(1, 3), False))
        layout = random_layout(concepts, styles, rng)
        for icon in layout.icons:
            assert min(icon.left, icon.top) >= 0
            assert max(icon.left, icon.top) + icon.side <= SIZE
        np.testing.assert_array_equal(draw(layout, icons), draw(layout, icons))
        if len(layout.icons) == 2:  # two icons do not overlap
            a, b = layout.icons
            apart = max(a.left, b.left) >= min(a.left + a.side, b.left + b.side) or max(
                a.top, b.top
            ) >= min(a.top + a.side, b.top + b.side)
            assert apart
