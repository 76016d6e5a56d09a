"""Every experiment composes to what it did, and can be planned without its model."""

import os
from pathlib import Path

import pytest
from anisomem.baselines.jeon import JeonSharpness
from anisomem.baselines.wen import WenNorm

from anisomem.cli.main import main
from anisomem.config import catalog
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.configured import detectors
from anisomem.engine.cost import Counts
from anisomem.engine.counting import counts
from anisomem.errors import UserError
from anisomem.run import labelled

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("experiment", catalog.names("experiment"))
def test_composes_to_what_it_did(experiment):
    """``ANISOMEM_UPDATE_GOLDEN=1 pytest tests/config/test_experiments.py`` accepts a change."""
    cases = labelled.judged([f"experiment={experiment}"])
    text = "---\n".join(case.text for case in cases)
    file = GOLDEN / f"{experiment}.yaml"
    if "ANISOMEM_UPDATE_GOLDEN" in os.environ:
        file.write_text(text)
    assert file.read_text() == text
    for case in cases:
        assert labelled.has_own(case)
        for detector in detectors(case.detector):
            detector.require(case.stands_for)


@pytest.mark.parametrize(
    ("experiment", "group", "chosen"),
    [("zoo", "detector", "wen"), ("mitigation_testbed", "mitigation", "wen")],
)
def test_settings_of_what_is_not_chosen_are_left_out(experiment, group, chosen):
    for case in labelled.judged([f"experiment={experiment}", f"{group}=[{chosen}]"]):
        assert list(getattr(case, group)) == [chosen]
        assert "nemo" not in case.text and "rho" not in case.text
    left_out = {"detector": "nemo.kernel", "mitigation": "initial_noise.rho"}[group]
    with pytest.raises(UserError, match=f"is of a {group} that is not chosen"):
        labelled.judged(
            [f"experiment={experiment}", f"{group}=[{chosen}]", f"{group}.{left_out}=3"]
        )


def test_what_a_model_cannot_serve_is_left_out_there_and_the_reason_kept():
    words = ["experiment=zoo", "detector=[wen,ren_le]"]
    by_model = {case.model_name: case for case in labelled.judged(words)}
    flow = by_model.pop("testbed_flow")
    assert list(flow.detector) == ["wen"] and list(flow.left_out["testbed_flow"]) == ["ren_le"]
    assert "ren_ae" not in flow.text
    for case in by_model.values():
        assert list(case.detector) == ["wen", "ren_le"] and not case.left_out
    with pytest.raises(UserError, match="serves none of the detectors: ren_le: it reads"):
        labelled.judged(["experiment=zoo", "model=testbed_flow", "detector=[ren_le]"])


def test_no_golden_file_outlives_its_experiment():
    assert {file.stem for file in GOLDEN.iterdir()} == set(catalog.names("experiment"))


@pytest.mark.parametrize(
    ("detectors", "policy", "expected"),
    [
        ([Anisotropy("a", 4)], "shared", Counts(8, 8, 0)),
        ([Anisotropy("a", 4), WenNorm("w", 4)], "shared", Counts(8, 8, 0)),
        ([Anisotropy("a", 1), JeonSharpness("j", 2)], "shared", Counts(3, 3, 4)),
        ([WenNorm("w", 2)], "per_prompt", Counts(4, 0, 0)),
        # 48 guided steps to t = 41, and the norm on pure noise
        ([Anisotropy("a", 1, cos_latents="guided")], "shared", Counts(1 + 2 * 47, 1, 0)),
    ],
)
def test_counts_are_what_the_engine_evaluates(detectors, policy, expected):
    assert counts(detectors, policy) == expected


def test_dry_run_of_a_published_table_starts_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    settings = ["experiment=table1_sd14", "dry_run=true", f"paths.data={tmp_path}"]
    assert main(["run", *settings]) == 0
    out = capsys.readouterr().out
    # three seeds of 1,000 prompts at 16 NFE (8 norms, 4 cosines at each of two timesteps), and 16
    # for all of them
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("| ")]
    lines = {name.strip(): cell.strip() for name, cell in rows}
    assert lines["model"] == "CompVis/stable-diffusion-v1-4"
    assert (lines["prompts"], lines["memorized / other"]) == ("sd14_webster500", "500 / 500")
    assert (
        "| 48,048 " in out
        and "| 24,000 " in out
        and "GB: 2.1 GB + 0.012 GB + 256 × 0.068 GB |" in out
    )
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_model_that_is_here_is_measured(capsys, large_run, tmp_path):
    runs = tmp_path / "runs"
    assert main(["run", *large_run, "detector=[wen]", "dry_run=true", f"runs={runs}"]) == 0
    out = capsys.readouterr().out
    assert "s in one process" in out and "| nothing " in out and "| 160 / 160 " in out
    assert max(map(len, out.splitlines())) <= 100
    assert not runs.exists()
