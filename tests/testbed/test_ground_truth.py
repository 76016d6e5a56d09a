"""Distances, thresholds and labels, on pictures small enough to check by hand."""

import numpy as np
import pytest

from anisomem.testbed import ground_truth as gt
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, Entry, EvaluationPrompt
from anisomem.testbed.pictures import Layout


def caption(*concepts):
    return Caption(concepts, "{concept}", ())


def plain(value):
    return np.full((32, 32, 3), value, np.uint8)


def test_distance_is_root_mean_square_over_the_pixels_that_count():
    a, b = plain(0), plain(51)  # 51 / 255 = 0.2
    weights = gt.mask(None)
    assert gt.distances(a[None], b[None], weights)[0, 0] == pytest.approx(0.2, abs=1e-5)
    b[:12, :12] = 255  # the patch is bright, and does not count
    weights = gt.mask(Layout((0, 0, 0), (), (0, 0)))
    assert weights.sum() == 32 * 32 - 12 * 12
    assert gt.distances(a[None], b[None], weights)[0, 0] == pytest.approx(0.2, abs=1e-5)


@pytest.fixture
def references():
    frozen = Layout((0, 0, 0), ())
    entries = [
        Entry(caption("fox"), 8, frozen),
        Entry(caption("fox"), 2),
        Entry(caption("owl"), 1),
    ]
    pictures = [plain(0)[None], np.stack([plain(100), plain(200)]), plain(30)[None]]
    by_concept = {"fox": [0, 1], "owl": [2]}
    return gt.References(Corpus(entries, [], {}), pictures, by_concept)


def test_repeated_caption_must_give_its_own_picture(references):
    generated = np.stack([plain(v) for v in (0, 10, 100, 200)])
    prompt = EvaluationPrompt(caption("fox"), "repeated", 0, 0, "verbatim")
    assert gt.reproduction_rate(prompt, generated, references, 0.05) == 0.5  # 0 and 10 / 255


def test_other_prompts_count_any_picture_of_their_concepts_or_source(references):
    generated = np.stack([plain(v) for v in (0, 30, 100, 250)])
    seen = EvaluationPrompt(caption("fox"), "seen", 0)
    assert gt.reproduction_rate(seen, generated, references, 0.05) == 0.5  # 0 and 100
    swapped = EvaluationPrompt(caption("owl"), "near_miss", 0, 0)
    assert gt.reproduction_rate(swapped, generated, references, 0.05) == 0.5  # 0 and 30


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0, "not_memorized"), (1 / 16, "partial"), (7 / 16, "partial"), (0.5, "memorized")],
)
def test_labels(rate, expected):
    assert gt.label(rate) == expected


def test_threshold_is_the_false_match_quantile(references):
    # One caption each of two values per concept: the nearest picture of another caption that
    # shares the concept is 10 / 255 away for all but one in 2,000, which is 1 / 255 away.
    entries, pictures, by_concept = [], [], {}
    for i in range(2000):
        entries += [Entry(caption(f"c{i}"), 1)] * 2
        pictures += [plain(50)[None], plain(51 if i == 0 else 60)[None]]
        by_concept[f"c{i}"] = [2 * i, 2 * i + 1]
    found = gt.References(Corpus(entries, [], {}), pictures, by_concept).threshold(captions=4000)
    assert found == pytest.approx(10 / 255, abs=1e-5)
