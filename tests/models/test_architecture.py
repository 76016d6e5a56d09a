"""Full-size architectures from the shipped configuration, and others with random weights."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from anisomem.cli.main import main
from anisomem.errors import UserError
from anisomem.models import architecture, families
from anisomem.models.families import load
from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.models.vocabulary import byte_tokenizer

# Parameters of the published weights.
PUBLISHED = {
    "CompVis/stable-diffusion-v1-4": (859_520_964, 123_060_480, 83_653_863),
    "stabilityai/stable-diffusion-2": (865_910_724, 340_387_840, 83_653_863),
}


@pytest.mark.parametrize("repository", PUBLISHED)
def test_shipped_architectures_have_the_published_number_of_parameters(repository):
    folder = architecture.folder(repository)
    with torch.device("meta"):
        parts = [
            UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet")),
            CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")),
            AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")),
        ]
    counts = tuple(sum(p.numel() for p in part.parameters()) for part in parts)
    assert counts == PUBLISHED[repository]


@pytest.mark.parametrize(
    ("repository", "predicted"), zip(PUBLISHED, ("epsilon", "v_prediction"), strict=True)
)
def test_shipped_schedules_are_stable_diffusions(repository, predicted):
    file = architecture.folder(repository) / "scheduler" / "scheduler_config.json"
    scheduler = type(stable_diffusion_ddim()).from_pretrained(file.parent)
    assert scheduler.config.prediction_type == predicted
    expected = stable_diffusion_ddim()
    assert torch.equal(scheduler.alphas_cumprod, expected.alphas_cumprod)
    assert scheduler.final_alpha_cumprod == expected.final_alpha_cumprod
    scheduler.set_timesteps(50)
    expected.set_timesteps(50)
    assert torch.equal(scheduler.timesteps, expected.timesteps)


def test_random_weights_have_a_folders_architecture(family, tmp_path):
    pipeline = family.build()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    model = load(str(tmp_path), device="cpu", dtype="bfloat16", weights="random")
    assert type(model) is family.model
    assert model.dtype == torch.bfloat16
    saved = family.model(pipeline).denoiser.state_dict()
    own = model.denoiser.state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in saved.items()}
    first = next(name for name in own if "attn" in name and name.endswith("to_q.weight"))
    assert not torch.allclose(own[first].float(), saved[first])
    x = model.initial_noise(0, 2)
    raw = model.predict(x, model.timesteps()[0], model.encode(["a cat", ""])).raw
    assert raw.isfinite().all()
    assert raw.dtype == torch.bfloat16


def test_the_stand_in_tokenizer_fills_77_tokens_in_range():
    tokenizer = byte_tokenizer()
    encoded = tokenizer(
        ["", "Ein café", "x" * 100], padding="max_length", truncation=True, return_tensors="pt"
    )
    assert encoded.input_ids.shape == (3, 77)
    assert 0 <= int(encoded.input_ids.min()) <= int(encoded.input_ids.max()) < 49_408
    assert len({tuple(row.tolist()) for row in encoded.input_ids}) == 3
    assert tokenizer.decode(encoded.input_ids[1], skip_special_tokens=True) == "ein café"


def test_an_architecture_that_is_not_shipped_names_the_nearest():
    with pytest.raises(UserError) as caught:
        load("CompVis/stable-diffusion-v1-3", weights="random")
    assert "did you mean 'CompVis/stable-diffusion-v1-4'?" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["weights=random", "model.weights=random"])
def test_random_weights_are_not_scored(setting, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert main(["run", "model=sd14", "dataset=testbed_epsilon", setting, f"runs={runs}"]) == 2
    error = capsys.readouterr().err
    assert "weights=random is for anisomem bench" in error
    assert error.count("\n") == 1
    assert not runs.exists()


@pytest.mark.parametrize("v2", [False, True])
def test_activations_are_what_a_pass_allocates(save_pipeline, v2):
    folder = save_pipeline(v2=v2)
    unet = load(str(folder), device="cpu").denoiser
    live, peak = 0, 0
    with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
        unet(
            torch.zeros(1, 4, 8, 8), torch.tensor([1]), encoder_hidden_states=torch.zeros(1, 77, 8)
        )
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    # What a kernel works in is the allocator's too, and no tensor.
    traced = families.outline(str(folder)).activations(torch.float32)
    assert 0.5 * peak < traced < 1.5 * peak
    assert families.outline(str(folder)).activations(torch.bfloat16) == pytest.approx(
        traced / 2, rel=0.1
    )
