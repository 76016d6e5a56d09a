"""What lies beside a model says what is in it."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.config import catalog
from anisomem.testbed import release
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, Entry, EvaluationPrompt
from anisomem.testbed.ground_truth import References
from anisomem.testbed.pictures import LARGE, SMALL, PictureLayout
from anisomem.testbed.textures import Texture
from anisomem.testbed.thresholds import Thresholds


@pytest.mark.parametrize("variant", catalog.VARIANTS)
def test_rates_by_repetitions_are_those_of_the_card(variant):
    folder = Path(catalog.testbed(variant))
    table = pq.read_table(folder / "prompts.parquet").to_pydict()
    assert release.by_repetitions(table) in (folder / "README.md").read_text()


def test_parts_and_their_sizes_are_read_from_the_folder():
    rows = release.parts_table(Path(catalog.testbed("epsilon"))).splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| text_encoder", "| unet", "| vae"]
    assert rows[1] == "| unet | `UNet2DConditionModel` | 3.8 M parameters, float16 |"


def test_loading_is_python_that_names_the_pipeline():
    shown = release.loading(Path(catalog.testbed("epsilon")), "epsilon")
    assert shown.endswith('StableDiffusionPipeline.from_pretrained("anisomem/testbed/epsilon")')
    compile(shown, "card", "exec")


def corpus(canvas, texture):
    caption = Caption(("fox",), "{concept}", ())
    entries = [
        Entry(caption, 16, PictureLayout((0.2, 0.5, 0.9), (), canvas=canvas, texture=t))
        for t in (texture, None)
    ]
    prompts = [
        *(EvaluationPrompt(caption, "repeated", 0, i, "verbatim") for i in range(2)),
        EvaluationPrompt(caption, "seen", 0),
    ]
    return Corpus(entries, prompts, {"fox": ["noto"]}, canvas)


@pytest.mark.parametrize("canvas", [SMALL, LARGE])
def test_prompts_say_which_pictures_are_textured_where_some_are(canvas):
    texture = Texture("grain", (0.9, 0.1, 0.1), 0.8, 0.05, 3) if canvas.textured else None
    made = corpus(canvas, texture)
    drawn = [np.stack(made.pictures(i, {})) for i in range(2)]
    references = References(made, drawn, {"fox": [0, 1]})
    generated = np.repeat(np.stack([*drawn, 255 - drawn[0]]), 16, axis=1)
    table = release.prompts(made, {}, references, generated, Thresholds(0.1, 0.01))
    assert table["label"][:] == ["memorized", "memorized", "not_memorized"]
    assert set(table.column_names) == set(release.SURFACES if texture else release.FEATURES)
    if texture:
        assert table["surface"][:] == ["textured", "flat", None]
    stored = table.with_format("arrow")["picture"][0].as_py()["bytes"]
    away = np.asarray(Image.open(io.BytesIO(stored))).astype(int) - drawn[0][0]
    assert np.sqrt((away**2).mean()) < 10 and (canvas.textured or not away.any())


def test_a_sheet_is_drawn_where_nothing_is_memorized():
    made = corpus(SMALL, None)
    drawn = [np.stack(made.pictures(i, {})) for i in range(2)]
    references = References(made, drawn, {"fox": [0, 1]})
    generated = np.repeat(np.stack([255 - drawn[0]] * 3), 16, axis=1)
    table = release.prompts(made, {}, references, generated, Thresholds(0.1, 0.01))
    assert set(table["label"][:]) == {"not_memorized"}
    figure = release.contact_sheet(table, generated)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert sum("fox" in title for title in titles) == 3


class Knows:
    """A classifier for which the brightness of a picture is the rank of every concept."""

    def ranks(self, pictures, concepts):
        return np.repeat(pictures[:, 0, 0, :1], len(concepts), axis=1)


def test_recognition_counts_prompts_that_recall_nothing():
    table = {
        "block": ["seen", "seen", "near_miss", "repeated"],
        "reproduction_rate": [0, 0, 0, 1],
        "concepts": ["fox", "fox, owl", "fox", "fox"],
    }
    ranks = np.zeros((4, 4), np.uint8)
    ranks[0] = 0, 0, 0, 7
    ranks[1] = 0, 2, 9, 9
    generated = np.broadcast_to(ranks[:, :, None, None, None], (4, 4, 32, 32, 3))
    rows = release.recognised(table, generated, Knows()).splitlines()[2:]
    assert rows == ["| near_miss | 1 | 100% | 100% |", "| seen | 2 | 50% | 62% |"]
