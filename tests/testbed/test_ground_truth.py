"""Distances, thresholds and labels, on pictures small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from anisomem.testbed import ground_truth as gt
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, Entry, EvaluationPrompt
from anisomem.testbed.pictures import PictureLayout


def caption(*concepts):
    return Caption(concepts, "{concept}", ())


def plain(value):
    return np.full((32, 32, 3), value, np.uint8)


def test_distance_is_root_mean_square_over_the_pixels_that_count():
    a, b = plain(0), plain(51)  # 51 / 255 = 0.2
    weights = gt.mask(a, None)
    assert gt.distances(a[None], b[None], weights)[0, 0] == pytest.approx(0.2, abs=1e-5)
    b[:12, :12] = 255  # the patch is bright, and does not count
    weights = gt.mask(a, (0, 0))
    assert weights.sum() == 32 * 32 - 12 * 12
    assert gt.distances(a[None], b[None], weights)[0, 0] == pytest.approx(0.2, abs=1e-5)


def test_each_reference_may_have_weights_of_its_own():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (3, 4))
    weights = rng.uniform(size=(4, 32, 32)).astype(np.float32)
    apart = (a[:, None] / 255 - b[None] / 255) ** 2 * weights[None, ..., None]
    expected = np.sqrt(apart.sum((2, 3, 4)) / (3 * weights.sum((1, 2))))
    np.testing.assert_allclose(gt.distances(a, b, weights), expected, rtol=1e-5)
    one = gt.distances(a, b, weights[2])
    np.testing.assert_allclose(one[:, 2], expected[:, 2], rtol=1e-5)


def test_what_weights_made_is_named_by_them(tmp_path):
    (tmp_path / "unet").mkdir()
    file = tmp_path / "unet" / "model.safetensors"
    file.write_bytes(b"weights")
    (tmp_path / "README.md").write_text("a card")
    before = gt.made_by(tmp_path)
    (tmp_path / "README.md").write_text("another")
    assert gt.made_by(tmp_path) == before
    file.write_bytes(b"weight.")
    assert gt.made_by(tmp_path) != before


@pytest.fixture
def references():
    frozen = PictureLayout((0, 0, 0), ())
    entries = [
        Entry(caption("fox"), 8, frozen),
        Entry(caption("fox"), 2),
        Entry(caption("owl"), 1),
    ]
    pictures = [plain(0)[None], np.stack([plain(100), plain(200)]), plain(30)[None]]
    by_concept = {"fox": [0, 1], "owl": [2]}
    return gt.References(Corpus(entries, [], {}), pictures, by_concept)


BOTH = gt.Thresholds(single=0.2, nearest=0.05)


def test_prompt_counts_its_source_and_any_nearer_picture_of_its_concepts(references):
    generated = np.stack([plain(v) for v in (0, 50, 100, 250)])  # 50 / 255 < 0.2
    repeated = EvaluationPrompt(caption("fox"), "repeated", 0, 0, "verbatim")
    assert gt.reproduction_rate(repeated, generated, references, BOTH) == 0.75  # 0, 50, 100
    seen = EvaluationPrompt(caption("fox"), "seen", 0)
    assert gt.reproduction_rate(seen, generated, references, BOTH) == 0.5  # 0 and 100
    swapped = EvaluationPrompt(caption("owl"), "near_miss", 0, 0)
    assert gt.reproduction_rate(swapped, generated, references, BOTH) == 0.5  # 0 and 50
    other = EvaluationPrompt(caption("owl"), "unseen_wording", 0)
    assert gt.reproduction_rate(other, generated[1:], references, BOTH) == 0


def test_a_repeated_picture_of_other_concepts_is_found_and_an_ordinary_one_is_not(references):
    prompt = EvaluationPrompt(caption("owl"), "unseen_wording", 0)
    strict = gt.Thresholds(single=0.9, nearest=0.01)
    of_others = np.stack([plain(v) for v in (0, 2, 50, 200)])
    # The first two are within 0.01 of the repeated fox, the last is an ordinary picture of foxes.
    assert gt.reproduction_rate(prompt, of_others, references, strict) == 0.5


def test_nearest_leaves_out_the_patch_of_templates_alone(references):
    entry = replace(
        references.corpus.entries[0], layout=PictureLayout((0, 0, 0), (), patch=(0, 0))
    )
    corpus = Corpus([entry, *references.corpus.entries[1:]], [], {})
    patched = plain(0)
    patched[:12, :12] = 255
    found = replace(references, corpus=corpus).nearest(patched[None], [0, 2])
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert replace(references, corpus=corpus).nearest(patched[None], [2])[0] > 0.1


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0, "not_memorized"), (1 / 16, "partial"), (7 / 16, "partial"), (0.5, "memorized")],
)
def test_labels(rate, expected):
    assert gt.label(rate) == expected


def test_thresholds_are_false_match_quantiles():
    # Captions in pairs that share a concept. A varied one's nearest is 10 / 255 away, in two of a
    # thousand pairs 1 / 255. A repeated one's partner has 4,000 pictures, of which one is 20 / 255
    # away and the others 40 / 255.
    varied, frozen = Entry(caption("x"), 1), PictureLayout((0, 0, 0), ())
    entries, pictures, by_concept = [], [], {}
    for i in range(1000):
        entries += [replace(varied, caption=caption(f"c{i}"))] * 2
        pictures += [plain(50)[None], plain(51 if i < 2 else 60)[None]]
        by_concept[f"c{i}"] = [2 * i, 2 * i + 1]
    entries += [Entry(caption("r"), 8, frozen), replace(varied, caption=caption("r"))]
    many = np.stack([plain(120)] + [plain(140)] * 3999)
    pictures += [plain(100)[None], many]
    by_concept["r"] = [2000, 2001]
    references = gt.References(Corpus(entries, [], {}), pictures, by_concept)
    found = references.thresholds(captions=2001)
    assert found.single == pytest.approx(40 / 255, abs=1e-5)  # 1 / 4,000 undercut it
    assert found.nearest == pytest.approx(1 / 255, abs=1e-5)  # 4 / 6,000 are that close
