"""What the gallery shows, and when it is made."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from anisomem.benchmark import gallery
from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.models.diffusers_unet import DiffusersUNet


@pytest.fixture
def case(gallery_run):
    (composed,) = compose.cases(gallery_run[0])
    return Results(Case(composed, "quickstart"))


@pytest.fixture
def copied(gallery_run, tmp_path):
    """The finished run in a place where it may be changed, and what runs it again."""
    overrides, folder = gallery_run
    shutil.copytree(folder, tmp_path / "runs" / "quickstart")
    return [*overrides, f"runs={tmp_path / 'runs'}"]


def test_most_wrong_prompts_of_the_metric(case):
    stored = gallery.read(case)
    assert stored.plan["ordered_by"] == "anisotropy, n=4"  # though wen is named first
    scores = dict(zip(case.prompts.ids, case.scores["anisotropy, n=4"][0], strict=True))
    memorized = {
        i for i, label in zip(case.prompts.ids, case.prompts.labels, strict=True) if label
    }
    lowest = sorted(memorized, key=scores.get)[:2]
    highest = sorted(set(scores) - memorized, key=scores.get)[-2:][::-1]
    assert [scores[i] for i in stored.plan["prompts"]] == [scores[i] for i in lowest + highest]
    assert [i in memorized for i in stored.plan["prompts"]] == [True, True, False, False]


def test_map_is_the_recorded_cosine_before_it_is_averaged(case):
    stored = gallery.read(case)
    rows = [case.prompts.ids.index(i) for i in stored.plan["prompts"]]
    recorded = case.recorded(42).mean(stored.plan["map"]["component"], 4)
    assert stored.maps.shape == (4, 8, 8)
    assert np.ptp(stored.maps) > 0.1 and abs(stored.maps).max() <= 1
    np.testing.assert_allclose(stored.maps.mean(axis=(1, 2)), recorded[rows], atol=1e-6)


def test_pictures_are_those_of_diffusers_at_seeds_no_detector_uses(case, make_pipeline):
    stored = gallery.read(case)
    assert min(stored.plan["seeds"]) > 42 + len(case.prompts)
    pipeline, model = make_pipeline(), DiffusersUNet(make_pipeline())
    text = case.prompts.texts[case.prompts.ids.index(stored.plan["prompts"][0])]
    for seed, picture in zip(stored.plan["seeds"], stored.pictures[0], strict=True):
        latents = torch.randn(1, *model.latent_shape, generator=torch.manual_seed(seed))
        expected = pipeline(text, latents=latents, guidance_scale=7.5, output_type="np").images[0]
        assert np.abs(picture - 255 * expected).max() <= 1.5


def test_finished_run_reads_it_without_torch(gallery_run):
    code = (
        "import sys; from anisomem.cli.main import main; code = main(['run', *sys.argv[1:]]);"
        "sys.exit(code or 9 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *gallery_run[0]], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("gallery=2", False),
        ("draws=100", False),
        ("gallery=1", True),
        ("detector=[anisotropy_equal,wen]", True),  # the same components, another order
        ("gallery=0", False),
    ],
)
def test_it_is_made_again_where_others_are_to_be_shown(copied, monkeypatch, change, again):
    made, generate = [], gallery.generate

    def spy(case, model):
        made.append(case)
        generate(case, model)

    monkeypatch.setattr(gallery, "generate", spy)
    overrides = [*copied, change]
    assert main(["run", *overrides]) == 0
    assert bool(made) == again
    (composed,) = compose.cases(overrides)
    assert gallery.is_as_asked(Results(Case(composed, "quickstart")))
    page = (Case(composed, "quickstart").folder.parent / "report.html").read_text()
    assert ("cosine map" in page) == (change != "gallery=0")


@pytest.mark.parametrize("damage", ["truncated", "pipe", "other arrays"])
def test_a_damaged_one_is_made_anew(copied, capsys, damage):
    (composed,) = compose.cases(copied)
    case = Results(Case(composed, "quickstart"))
    whole, file = gallery.read(case), case.folder / "gallery.npz"
    content = file.read_bytes()
    file.unlink()
    match damage:
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "pipe":
            os.mkfifo(file)
        case "other arrays":
            np.savez(file, plan="{}", pictures=np.zeros(3), maps=np.zeros(3))
    assert gallery.read(case) is None
    assert main(["table", str(case.folder)]) == 0
    assert main(["run", *copied]) == 0
    healed = gallery.read(case)
    assert healed.plan == whole.plan and np.array_equal(healed.pictures, whole.pictures)


def test_maps_where_the_detector_that_orders_has_none():
    from anisomem.baselines.wen import WenNorm

    from anisomem.detection.anisotropy import Anisotropy

    wen = [WenNorm("wen", n) for n in (4, 1)]
    assert gallery.headline(wen) == wen[0]
    paper = Anisotropy("anisotropy_paper", 4, convention="paper")
    assert gallery.headline([*wen, paper]) == paper
