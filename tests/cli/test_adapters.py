"""A run on a model with a LoRA: in its identity and card, and refused before it records."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from anisomem.benchmark.measured import Measured
from anisomem.cli.main import main
from tests.models import lora_files

ONES = torch.ones(8, 2, 1, 1)


@pytest.fixture
def command(on_eight):
    """A run of the tiny model, and more of its settings."""
    return lambda *more: on_eight("detector=[wen]", *more)


@pytest.fixture
def style(save_pipeline, tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(save_pipeline())
    return lora_files.save(lora_files.train(pipeline), tmp_path)


def folders_by_weight(tmp_path):
    """The folder of every run by the LoRA's weight in its identity."""
    files = tmp_path.glob("runs/quickstart/*/components/identity.json")
    described = {file.parents[1]: json.loads(file.read_text())["model"] for file in files}
    return {
        model.get("adapters", [{}])[0].get("weight"): folder for folder, model in described.items()
    }


def test_a_run_is_of_the_model_with_it(command, style, tmp_path, capsys):
    for adapters in ("[]", f"[{style}]", f"[{style}:0.5]"):
        assert main(command(f"model.adapters={adapters}")) == 0
        assert "peft" not in capsys.readouterr().err.lower()
    folders = folders_by_weight(tmp_path)
    assert set(folders) == {None, 1.0, 0.5}
    provenance = Measured.read(folders[0.5] / "measured.json").provenance
    (said,) = provenance["adapters"]
    assert (said["file"], said["kind"], said["weight"]) == ("lora.safetensors", "LoRA", 0.5)
    assert len(said["sha256"]) == 64
    capsys.readouterr()
    assert main(command(f"model.adapters=[{style}:0.5]")) == 0
    assert "lora:0.5" in capsys.readouterr().out  # the model's name in the table
    (case,) = json.loads((tmp_path / "runs/quickstart/table.json").read_text())["cases"]
    assert case["model"]["adapters"] == [said]


def test_the_same_model_without_it_is_another_model(command, style, save_pipeline, capsys):
    detector = ["detector=[earlier_checkpoint]", "detector.earlier_checkpoint.n=1"]
    base = f"baseline_model.path={save_pipeline()}"
    assert main(command(*detector, base, f"model.adapters=[{style}]")) == 0
    capsys.readouterr()
    same = f"baseline_model.adapters=[{style}]"
    assert main(command(*detector, base, f"model.adapters=[{style}]", same)) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert main(command(*detector, base, "baseline_model.adapters=[a.pt]")) == 2
    assert "baseline_model.adapters: a.pt is not there" in capsys.readouterr().err


def refused(capsys, tmp_path, words, *said):
    assert main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    for part in said:
        assert part in line
    assert not list(tmp_path.glob("runs/quickstart/*/components/*.safetensors"))
    assert not list(tmp_path.glob("runs/quickstart/*/components/*.parquet"))


def test_bad_adapters_are_one_line_and_record_nothing(command, style, tmp_path, capsys):
    other = {f"unet.x.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(other, tmp_path / "other.safetensors")
    conv = "unet.conv_in"
    wide = {f"{conv}.lora_A.weight": torch.ones(2, 9, 3, 3), f"{conv}.lora_B.weight": ONES}
    save_file(wide, tmp_path / "wide.safetensors")
    (tmp_path / "style.pt").write_bytes(b"\x80\x02cos\nsystem\n")
    for given, *said in (
        (
            f"[{tmp_path}/other.safetensors]",
            "its 2 weights do not fit the layers",
            "unet.x.lora_A",
        ),
        (
            f"[{tmp_path}/wide.safetensors]",
            "1 of its 2 weights",
            "is [2, 9, 3, 3], expected [2, 4",
        ),
        (f"[{tmp_path}/style.pt:0.5]", "may hold program code"),
        ("3", "model.adapters must be a list of files"),
        (f"[{style}:strong]", "'strong'; expected a finite number"),
        (str(style), "model.adapters must be a list of files"),
        (f"[{{{style}: 0.8}}]", "model.adapters must be a list of files"),
        ("[/nowhere/a.safetensors]", "is not there"),
    ):
        refused(capsys, tmp_path, command(f"model.adapters={given}"), *said)
