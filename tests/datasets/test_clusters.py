"""Near-duplicates against a plain implementation of single linkage."""

import numpy as np
import pytest

from anisomem.datasets import clusters
from anisomem.datasets.clusters import near_duplicates, words


def plainly(texts, urls):
    """Links by the definition, spread until nothing changes."""
    sets = [set(words(text)) for text in texts]
    found = list(range(len(texts)))
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(sets):
            for j, b in enumerate(sets):
                near = bool(a | b) and len(a & b) / len(a | b) >= 0.5
                if (near or set(urls[i]) & set(urls[j])) and found[j] > found[i]:
                    found[j], changed = found[i], True
    return found


def partition(clusters):
    return {frozenset(np.flatnonzero(np.asarray(clusters) == c).tolist()) for c in set(clusters)}


def test_single_linkage_by_the_definition(monkeypatch):
    monkeypatch.setattr("anisomem.datasets.clusters.PAIRS", 50)  # several pieces
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 6))) for _ in range(60)]
    texts = [
        f"{text} {rng.choice(['x', 'y', 'zz', 'w', 'v'])}{i % 9}" for i, text in enumerate(texts)
    ]
    texts += ["12 34", "12 34"]
    urls = [[f"u{rng.integers(40)}"] if i % 3 == 0 else [] for i in range(len(texts))]
    for given in (urls, [[]] * len(texts)):
        found = near_duplicates(texts, given).tolist()
        assert partition(found) == partition(plainly(texts, given))
        assert list(dict.fromkeys(found)) == list(range(max(found) + 1))  # in order of appearance
        assert 3 < len(set(found)) < len(texts)


@pytest.mark.parametrize("common", [0, 3, 1000])
def test_words_that_many_share_are_gone_through_apart(monkeypatch, common):
    monkeypatch.setattr("anisomem.datasets.clusters.PAIRS", 50)
    monkeypatch.setattr("anisomem.datasets.clusters.COMMON", common)
    rng = np.random.default_rng(common)
    sizes = rng.integers(1, 12, 120)
    texts = [" ".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), k)) for k in sizes]
    texts += [f"the first template of {word} all" for word in ("kkk", "lll", "mmm", "nnn")]
    urls = [[]] * len(texts)
    assert partition(near_duplicates(texts)) == partition(plainly(texts, urls))


def test_templates_take_memory_by_the_prompt_and_not_by_the_pair(monkeypatch):
    texts = [
        f"shaw floors couture collection ultimate expression {letters(i)}" for i in range(2000)
    ]
    texts += [f"another {letters(i)} {letters(i + 7)} of a photo" for i in range(2000)]
    compared = []
    near = clusters._Sets.near
    monkeypatch.setattr(
        clusters._Sets, "near", lambda sets, i, j: compared.append(len(i)) or near(sets, i, j)
    )
    found = near_duplicates(texts)
    assert len(set(found[:2000])) == 1 and found[2000] == 1
    assert sum(compared) < 20 * len(texts)  # of eight million pairs


def letters(number):
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:05d}")


def test_what_counts_as_a_word():
    # The half is included, numbers and case are not, words need not be ASCII.
    assert near_duplicates(["a b", "A, a1 b2 c", "c d e"]).tolist() == [0, 0, 1]
    assert near_duplicates(["a b c", "a x y"]).tolist() == [0, 1]
    assert near_duplicates(["Тёплый плед", "тёплый ПЛЕД 5"]).tolist() == [0, 0]
    assert near_duplicates(["1", "1"]).tolist() == [0, 1]  # nothing to compare


def test_counts_of_the_real_lists(real):
    from anisomem.datasets import published

    for name, expected in (("sd14_webster500", 311), ("sd20_webster219", 122)):
        prompts = published.load(name, real)
        assert len(set(prompts.clusters[prompts.labels == 1])) == expected
        tuxemon = prompts.clusters[[block == "Tuxemon" for block in prompts.blocks]]
        assert np.bincount(tuxemon).max() == 94
