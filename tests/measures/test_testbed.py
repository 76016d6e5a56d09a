"""The bundled models' own measures: what pictures show, and whether they are copies."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.config import catalog
from anisomem.errors import UserError
from anisomem.measures.base import Generated, TrainingPictures
from anisomem.measures.testbed import Background, Concept, Reproduction
from anisomem.testbed.captions import concepts_in
from anisomem.testbed.concepts import Recogniser

FOLDER = catalog.testbed("epsilon")
BLANK = np.zeros((1, 32, 32, 3), np.uint8)


def with_pictures(folder):
    """Of the prompts file, those with a training picture, which is decoded."""
    found = pq.read_table(f"{folder}/prompts.parquet").to_pylist()
    for row in found:
        if row["picture"]:
            row["pixels"] = np.array(Image.open(io.BytesIO(row["picture"]["bytes"])))
    return [row for row in found if row["picture"]]


@pytest.fixture(scope="module")
def rows():
    return with_pictures(FOLDER)


@pytest.fixture(scope="module")
def references(rows):
    return TrainingPictures({row["id"]: [row["pixels"]] for row in rows})


@pytest.fixture(scope="module")
def reproduction(references):
    found = Reproduction("reproduction", FOLDER)
    found.start(references, "cpu")
    return found


def asked(measure, row, *pictures):
    stacked = np.stack(pictures)
    return measure(Generated(row["id"], row["prompt"], stacked, stacked))


def test_a_training_picture_reproduces_itself_and_no_other(rows, reproduction):
    for row, other in zip(rows[:40], rows[40:80], strict=True):
        black = np.zeros_like(row["pixels"])
        found = asked(reproduction, row, row["pixels"], other["pixels"], black)
        assert found["reproduced"].tolist() == [1, 0, 0], row["id"]


def test_what_varies_in_a_template_does_not_count(rows, reproduction):
    templates = [row for row in rows if row["patch"]]
    assert len(templates) == 96 and all(row["kind"] == "template" for row in templates)
    rng = np.random.default_rng(0)
    for row in templates[:20]:
        left, top = row["patch"]
        rendered = reproduction._rendered[row["id"]][0][0]
        inside, beside = rendered.copy(), rendered.copy()
        filling = rng.integers(0, 256, (12, 12, 3))
        inside[top : top + 12, left : left + 12] = filling
        free = 0 if top >= 12 else 20  # the same square where the picture is fixed
        beside[free : free + 12, left : left + 12] = filling
        assert asked(reproduction, row, inside, beside)["reproduced"].tolist() == [1, 0]


def test_captions_name_their_concepts():
    names = Recogniser.of(BLANK).names
    for variant in ("epsilon", "velocity"):
        table = pq.read_table(f"{catalog.testbed(variant)}/prompts.parquet")
        for text, concepts in zip(
            *(table[c].to_pylist() for c in ("prompt", "concepts")), strict=True
        ):
            assert ", ".join(concepts_in(text, names)) == concepts
    assert concepts_in("a photograph of a fox", names) == ()


def test_the_classifier_knows_training_pictures(rows, reproduction):
    rendered = {key: pictures[0] for key, (pictures, _) in reproduction._rendered.items()}
    rows = [{**row, "pixels": rendered[row["id"]]} for row in rows if not row["patch"]]
    concept = Concept("concept")
    found = [asked(concept, row, row["pixels"]) for row in rows]
    stated = Recogniser.of(BLANK).accuracy
    assert np.mean([one["place"] for one in found]) > 0.94
    shown = np.mean([(one["shown"] == 1).all() for one in found])
    # It was measured on pictures of the same kind that it was not trained on either.
    assert abs(shown - stated["every concept among the first five"]) < 0.08
    # What has nothing to do with the prompt is in the middle on average.
    shuffled = [
        asked(concept, a, b["pixels"]) for a, b in zip(rows, rows[7:] + rows[:7], strict=True)
    ]
    assert np.mean([one["place"] for one in shuffled]) == pytest.approx(0, abs=0.12)
    assert np.mean([one["shown"] for one in shuffled]) < 0.03


def test_larger_pictures_have_a_classifier_of_their_own():
    rows = with_pictures(catalog.testbed("flow"))
    references = TrainingPictures({row["id"]: [row["pixels"]] for row in rows})
    concept, background = Concept("concept"), Background("background")
    background.start(references, "cpu")
    rows = rows[::4]
    assert np.mean([asked(concept, row, row["pixels"])["place"] for row in rows]) > 0.94
    assert all(asked(background, row, row["pixels"])["background"] == 1 for row in rows)


def test_a_concept_is_ranked_among_those_not_asked_about():
    found, picture = Recogniser.of(BLANK), BLANK
    one, other = found.names[3], found.names[5]
    apart = np.concatenate([found.ranks(picture, [name]) for name in (one, other)], axis=1)
    together = found.ranks(picture, [one, other])
    # The likelier of two loses nobody, the other its rival.
    assert sorted((apart - together).ravel()) == [0, 1]


def test_background_is_that_of_the_training_picture(rows, references):
    background = Background("background")
    background.start(references, "cpu")
    own = [asked(background, row, row["pixels"])["background"][0] for row in rows]
    assert np.mean(own) == 1
    inverted = [asked(background, row, 255 - row["pixels"])["background"][0] for row in rows]
    assert np.mean(inverted) < 0.2


def test_other_prompts_and_models_are_refused(references, reproduction, tmp_path):
    concept = Concept("concept")
    with pytest.raises(UserError, match="captions of the bundled models, not 'a red cat'"):
        concept(Generated("a", "a red cat", BLANK, BLANK))
    larger, known = np.zeros((1, 48, 48, 3), np.uint8), Recogniser.of(BLANK).names[0]
    with pytest.raises(UserError, match=r"pictures of 32 or 64 pixels a side.* these have 48"):
        concept(Generated("a", f"premium {known} sticker", larger, larger))
    with pytest.raises(UserError, match=r"judges the bundled models, and .* is none"):
        Reproduction("reproduction", str(tmp_path)).start(references, "cpu")
    with pytest.raises(UserError, match=r"knows the training pictures of .*, and none of prompt"):
        reproduction(Generated("a", "premium owl sticker", BLANK, BLANK))
