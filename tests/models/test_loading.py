"""Loading: where from, which family, which commit, and what is refused in one line."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from hydra.utils import get_method

from anisomem.cli.main import main
from anisomem.config import catalog, compose
from anisomem.detection.weighted import PUBLISHED
from anisomem.errors import UserError
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.families import families as every_family
from anisomem.models.families import load
from anisomem.models.loading import Source
from anisomem.models.prediction import Parameterisation
from anisomem.models.sd3 import StableDiffusion3
from anisomem.models.sdxl import StableDiffusionXL
from anisomem.run.provenance import provenance

COMMIT, EARLIER = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"


@pytest.fixture
def saved(families, tmp_path):
    """Saves a family's pipeline and returns the folder, which the test may change."""

    def save(name):
        families[name].build().save_pretrained(tmp_path / name, safe_serialization=True)
        return tmp_path / name

    return save


@pytest.fixture
def hub(save_pipeline, tmp_path, monkeypatch):
    """A hub cache with two commits of a repository, and no hub in reach."""
    repository = tmp_path / "hub" / "models--someone--model"
    for commit, choices in ((EARLIER, {"seed": 1}), (COMMIT, {})):
        shutil.copytree(save_pipeline(**choices), repository / "snapshots" / commit)
    for name, commit in (("main", COMMIT), ("v1", EARLIER)):
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / name).write_text(commit)
    for module in ("diffusers.pipelines.pipeline_utils", "huggingface_hub.constants"):
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            monkeypatch.setattr(f"{module}.{name}", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def one_line(given, *said):
    """Loading is refused in one line that says so."""
    with pytest.raises(UserError) as caught:
        given()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("revision", "commit"), [(None, COMMIT), ("v1", EARLIER), (EARLIER, EARLIER)]
)
def test_the_commit_that_was_loaded_is_recorded(hub, make_pipeline, revision, commit):
    model = load("someone/model", revision, device="cpu")
    expected = DiffusersUNet(make_pipeline(**({"seed": 1} if commit == EARLIER else {})))
    x = model.initial_noise(0, 1)
    actual = model.predict(x, 981, model.encode(["a cat"])).raw
    torch.testing.assert_close(actual, expected.predict(x, 981, expected.encode(["a cat"])).raw)
    assert (model.repository, model.revision) == ("someone/model", commit)
    card = provenance(model)
    assert (card["repository"], card["revision"]) == ("someone/model", commit)


def test_a_local_folder_has_no_commit(save_pipeline):
    card = provenance(load(str(save_pipeline()), device="cpu"))
    assert card["repository"] is card["revision"] is None


def test_a_repository_out_of_reach_is_one_line(hub):
    one_line(
        lambda: load("someone/gone", alternative="other/mirror"),
        "no diffusers pipeline at 'someone/gone'",
        "model_index.json",
        "try model.path=other/mirror",
    )
    one_line(lambda: load("someone/model", "no-such-branch"), "someone/model")


@pytest.mark.parametrize("name", ["not there", "empty"])
def test_a_folder_without_a_pipeline_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    path = str(tmp_path / name)
    one_line(lambda: load(path), path, "model_index.json")


@pytest.mark.parametrize(
    "file",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/config.json",
    ],
)
def test_a_file_that_is_cut_short_is_one_line(saved, file):
    folder = saved("sd_v1")
    (folder / file).write_bytes((folder / file).read_bytes()[:-100])
    one_line(lambda: load(str(folder)), str(folder / file), "damaged")


def test_weights_that_are_not_safetensors_are_refused(saved):
    folder = saved("sd_v1")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    one_line(lambda: load(str(folder)), str(folder), "safetensors")


@pytest.mark.parametrize(
    ("setting", "value", "nearest"),
    [
        ("dtype", "float23", "float32"),
        ("device", "cud", "cuda"),
        ("weights", "randon", "random"),
        ("offload", "modell", "model"),
        ("parameterisation", "v-prediction", "v_prediction"),
    ],
)
def test_a_misspelt_choice_is_named(save_pipeline, setting, value, nearest):
    one_line(
        lambda: load(str(save_pipeline()), **{setting: value}),
        f"{setting} named {value!r}; did you mean {nearest!r}?",
    )


def test_a_misspelt_model_is_named(capsys):
    assert main(["run", "model=sd144"]) == 2
    assert "no model named 'sd144'; did you mean 'sd14'?" in capsys.readouterr().err


@pytest.mark.parametrize("declared", ["epsilon", "sample", "flow_prediction"])
def test_a_velocity_model_declared_otherwise_is_refused(save_pipeline, declared):
    folder = str(save_pipeline(prediction_type="v_prediction"))
    one_line(
        lambda: load(folder, parameterisation=declared),
        f"model.parameterisation={declared} contradicts",
        "v_prediction",
    )
    model = load(folder, parameterisation="v_prediction", device="cpu")
    assert model.parameterisation == "v_prediction"


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("sd_v1", "text_encoder"),
        ("sdxl", "text_encoder"),
        ("sdxl", "text_encoder_2"),
        ("sd3", "text_encoder_2"),
    ],
)
def test_a_pipeline_without_a_text_encoder_is_refused(saved, name, encoder):
    folder = saved(name)
    edit(folder / "model_index.json", **{encoder: [None, None]})
    one_line(lambda: load(str(folder)), f"the pipeline has no {encoder};")


def test_another_familys_pipeline_is_refused(saved, save_pipeline):
    folder = str(saved("sdxl"))
    expected = "is a StableDiffusionXLPipeline; expected a StableDiffusionPipeline"
    one_line(lambda: DiffusersUNet.load(folder), folder, expected)
    one_line(lambda: StableDiffusionXL.load(str(save_pipeline())), "StableDiffusionXLPipeline")
    other = saved("sd_v1")
    edit(other / "model_index.json", _class_name="FluxPipeline")
    one_line(lambda: load(str(other)), "is a FluxPipeline; expected a Stable")


@pytest.mark.parametrize(
    ("name", "scheduler", "said"),
    [
        ("sd_v1", FlowMatchEulerDiscreteScheduler(), "has no betas"),
        ("sdxl", EDMEulerScheduler(), "has no betas"),
        ("sd3", DDIMScheduler(), "no flow matching"),
        ("sd3", FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "dynamic"),
        ("sd_v1", DDIMScheduler(prediction_type="epsilon_"), "did you mean 'epsilon'"),
    ],
)
def test_a_scheduler_of_another_kind_is_refused(families, name, scheduler, said):
    family = families[name]
    pipeline = family.build()
    own, pipeline.scheduler = pipeline.scheduler, scheduler
    try:
        one_line(lambda: family.model(pipeline), said)
    finally:
        pipeline.scheduler = own


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
@pytest.mark.parametrize("options", [{}, {"offload": "model"}, {"offload": "sequential"}])
def test_a_device_that_is_not_there_is_one_line(save_pipeline, options):
    folder = str(save_pipeline())
    one_line(lambda: load(folder, device="cuda", **options), "device 'cuda'")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sd_v1", {"attention_slicing": "max"}),
        ("sdxl", {"attention_slicing": 1}),
        ("sd_v1", {"offload": "model"}),
        ("sdxl", {"offload": "model"}),
        ("sd3", {"offload": "model"}),
    ],
)
def test_memory_options_change_no_prediction(saved, name, options):
    folder = str(saved(name))
    plain, sparing = (load(folder, device="cpu") for _ in range(2))
    sparing.place("cpu", **options)  # loading itself refuses to offload to where it computes
    x = plain.initial_noise(0, 2)
    for t in (501, 41):  # the text encoders have left for the network to come, and return
        c = [model.encode(["a cat", ""]) for model in (plain, sparing)]
        torch.testing.assert_close(c[1].tensors, c[0].tensors)
        expected, actual = plain.predict(x, t, c[0]).raw, sparing.predict(x, t, c[1]).raw
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(sparing.decode(x), plain.decode(x))
    if "offload" in options:
        one_line(lambda: sparing.jvp(x, 501, c[1], x.flip(0)), "set model.offload=null")
    else:
        expected, actual = (m.jvp(x, 501, c[0], x.flip(0))[1] for m in (plain, sparing))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_is_what_diffusers_calls_so(families, monkeypatch, offload):
    family, called = families["sd_v1"], []
    model = family.model(family.build())
    name = "enable_model_cpu_offload" if offload == "model" else "enable_sequential_cpu_offload"
    monkeypatch.setattr(model.pipeline, name, lambda device: called.append(device))
    model.place("cpu", offload=offload)
    assert called == ["cpu"]
    one_line(lambda: load("any", device="cpu", offload=offload), "accelerator")


@pytest.mark.parametrize("slices", [0, -1, 1.5, True, [1]])
def test_slices_that_would_skip_the_attention_are_refused(saved, slices):
    with pytest.raises(UserError, match="attention_slicing must be auto, max, null or a positive"):
        DiffusersUNet.load(saved("sd_v1"), device="cpu", attention_slicing=slices)


def test_attention_slicing_is_refused_where_it_does_nothing(saved):
    folder = str(saved("sd3"))
    one_line(
        lambda: StableDiffusion3.load(folder, device="cpu", attention_slicing="auto"),
        "attention_slicing has no effect on a SD3Transformer2DModel",
    )


def test_on_a_gpu_float32_stays_float32(saved):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    load(str(saved("sd_v1")), device="cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_half_precision_decodes_sdxl_in_float32(saved):
    folder = str(saved("sdxl"))
    model = StableDiffusionXL.load(folder, dtype="float16", device="cpu")
    assert (model.dtype, model.pipeline.vae.dtype) == (torch.float16, torch.float32)
    pictures = model.decode(model.initial_noise(0, 1).half())
    assert pictures.std() > 5


MODELS = [
    name
    for name in catalog.names("model")
    if "anisomem.models." in (catalog.folder() / "model" / f"{name}.yaml").read_text()
]


@pytest.mark.parametrize("name", MODELS)
def test_every_configuration_gives_all_that_loading_takes(name):
    (composed,) = compose.cases([f"model={name}", "dataset=testbed_epsilon"])
    node = composed.model
    assert set(node) - {"_target_"} == {field.name for field in fields(Source)}
    assert "sd14" in MODELS
    if name == "diffusers_folder":
        assert get_method(node["_target_"]) is load
        return
    family = get_method(node["_target_"]).__self__
    assert family in every_family()
    if name.startswith("testbed"):
        return
    assert node["path"].count("/") == 1  # a repository
    expected = Parameterisation.FLOW if family is StableDiffusion3 else Parameterisation.EPSILON
    if name in ("sd20", "sd21"):
        expected = Parameterisation.VELOCITY
    assert node["parameterisation"] == expected
    assert (node["alternative"] is not None) == name.startswith("sd2")
    assert node["stands_for"] == (name if name in PUBLISHED else None)
