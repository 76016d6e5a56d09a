"""A run that compares its model with a second one: what it takes, and what is refused before."""

import json
import shutil

import pandas as pd
import pytest
import torch

from anisomem.benchmark.measured import Measured
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.run import devices


@pytest.fixture
def command(on_eight):
    """A run of the tiny model beside a second one, and more of its settings."""
    chosen = "detector=[earlier_checkpoint]", "detector.earlier_checkpoint.n=1"
    return lambda *more: on_eight(*chosen, *more)


def test_a_run_records_the_second_model_and_its_card_says_which(
    command, save_pipeline, tmp_path, capsys
):
    earlier = save_pipeline(seed=1)
    given = command(f"baseline_model.path={earlier}")
    assert main(given) == 0
    out = capsys.readouterr().out
    assert "| earlier_checkpoint" in out
    assert f"{earlier.name} is the second model of earlier_checkpoint" in " ".join(out.split())
    (identity,) = tmp_path.glob("runs/quickstart/*/components/identity.json")
    (measured,) = tmp_path.glob("runs/quickstart/*/measured.json")
    provenance = Measured.read(measured).provenance
    places = str(save_pipeline()), str(earlier)
    model, baseline = (DiffusersUNet.load(place, device="cpu") for place in places)
    assert provenance["weights"] == model.weights.described
    assert provenance["baseline_model"]["weights"] == baseline.weights.described
    # The first prompt again, with a copy of the second model elsewhere: nothing is left to do.
    before = identity.stat().st_mtime_ns
    shutil.copytree(earlier, tmp_path / "copy")
    assert main(command(f"baseline_model.path={tmp_path / 'copy'}")) == 0
    assert identity.stat().st_mtime_ns == before
    (shard,) = tmp_path.glob("runs/quickstart/*/components/*.parquet")
    recorded = pd.read_parquet(shard).set_index("prompt_id")
    (name,) = (name for name in recorded if name.startswith("earlier_checkpoint/"))
    x = model.initial_noise(42, 1)
    with torch.no_grad():
        *_, last = model.trajectory(x, model.encode(["red cat 1"]))
        other = baseline.predict(last.conditional.x, last.t, baseline.encode(["red cat 1"]))
    expected = (last.conditional.score - other.score).square().sum().item() / 64
    assert recorded[name]["p1"] == pytest.approx(expected, rel=1e-3)


def test_a_difference_of_scores_shares_the_models_own_half(
    command, save_pipeline, tmp_path, capsys
):
    given = [one for one in command() if not one.startswith("detector")]
    chosen = ["detector=[wen,relative_wen,relative_jeon]", "detector.relative_wen.n=[1,2]"]
    assert main([*given, *chosen, f"baseline_model.path={save_pipeline(seed=1)}"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "second model of relative_wen" in out and "| relative_jeon" in out
    (shard,) = tmp_path.glob("runs/quickstart/*/components/*.parquet")
    names = [name for name in pd.read_parquet(shard) if "wen/" in name]
    assert len(names) == 2 and {name.removeprefix("baseline/") for name in names} < {*names}


def refused(given, capsys):
    assert main(given) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_lacks_or_is_of_no_use_is_said_before_anything_is_loaded(
    command, save_pipeline, tmp_path, capsys
):
    for more in ((), ("dry_run=true",)):
        assert "give baseline_model.path=FOLDER" in refused(command(*more), capsys)
    earlier = f"baseline_model.path={save_pipeline(seed=1)}"
    other = [one for one in command(earlier) if not one.startswith("detector")]
    line = refused([*other, "detector=[wen]"], capsys)
    assert "'detector=[earlier_checkpoint]'" in line
    shutil.copytree(save_pipeline(), tmp_path / "copy")
    line = refused(command(f"baseline_model.path={tmp_path / 'copy'}"), capsys)
    assert "is the model itself" in line
    line = refused(command("baseline_model.pat=x"), capsys)
    assert "did you mean 'path'?" in line
    line = refused(command("baseline_model.path=/nowhere/at/all"), capsys)
    assert "/nowhere/at/all" in line
    assert not list(tmp_path.glob("runs/quickstart/*/components/*.parquet"))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"prediction_type": "v_prediction"}, "it predicts v_prediction, and the model epsilon"),
        ({"size": (16, 16)}, "its latents are (4, 16, 16), and the model's (4, 8, 8)"),
        ({"set_alpha_to_one": True}, ""),  # of the step behind the last, which no detector reads
    ],
)
def test_models_that_cannot_be_compared(command, save_pipeline, choices, said):
    from anisomem.errors import UserError

    (config,) = compose.cases(command(f"baseline_model.path={save_pipeline(**choices)}")[1:])
    if not said:
        assert devices.loaded(config).baseline is not None
        return
    with pytest.raises(UserError) as caught:
        devices.loaded(config)
    assert said in str(caught.value) and "baseline_model.path=" in str(caught.value)


def test_a_tokenizer_that_makes_other_tokens(command, save_pipeline, tmp_path):
    from anisomem.errors import UserError

    folder = tmp_path / "other"
    shutil.copytree(save_pipeline(seed=1), folder)
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 8}))
    (config,) = compose.cases(command(f"baseline_model.path={folder}")[1:])
    with pytest.raises(UserError, match="its tokenizer takes 8 tokens, and the model's 10"):
        devices.loaded(config)


def test_expected_hashes_of_either_model_name_their_own_setting(command, save_pipeline):
    from anisomem.errors import UserError

    earlier = f"baseline_model.path={save_pipeline(seed=1)}"
    for model in ("model", "baseline_model"):
        (config,) = compose.cases(command(earlier, f"{model}.expected_sha256={'0' * 64}")[1:])
        with pytest.raises(UserError, match=rf"and {model}\.expected_sha256 says 000"):
            devices.loaded(config)
    file = "{unet/diffusion_pytorch_model.safetensors: " + "0" * 64 + "}"
    (config,) = compose.cases(command(earlier, f"model.expected_sha256={file}")[1:])
    with pytest.raises(UserError, match=r"unet/diffusion_pytorch_model\.safetensors has sha256"):
        devices.loaded(config)
