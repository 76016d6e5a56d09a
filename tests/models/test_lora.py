"""A LoRA gives the numbers that diffusers' own pipeline gives with it, or one line."""

import json
import re
import shutil

import pytest
import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from anisomem.models.families import load
from tests.models import lora_files
from tests.models.folders import one_line

CLASSES = {
    "sd_v1": StableDiffusionPipeline,
    "sd_v2": StableDiffusionPipeline,
    "sdxl": StableDiffusionXLPipeline,
    "sd3_without_t5": StableDiffusion3Pipeline,
}
WEIGHTS = 0.8, -0.5
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def own(originals):
    """Diffusers' own pipeline of a family, anew."""

    def read(name):
        absent = {"text_encoder_3": None, "tokenizer_3": None} if name.startswith("sd3") else {}
        pipeline = CLASSES[name].from_pretrained(originals(name), **absent)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return read


@pytest.fixture(scope="module")
def written(own, tmp_path_factory):
    """The file of a LoRA for a family, written once."""
    kept = {}

    def write(name, seed=0, **settings):
        key = name, seed, json.dumps(settings)
        if key not in kept:
            metadata = settings.pop("metadata", False)
            made = lora_files.train(own(name), seed, **settings)
            kept[key] = lora_files.save(made, tmp_path_factory.mktemp("lora"), metadata)
        return kept[key]

    return write


def outputs(model):
    """The raw output for a prompt and for none, at a late and an early step."""
    x = model.initial_noise(0, 1)
    return torch.cat(
        [
            model.predict(x, t, model.encode([prompt])).raw
            for t in (model.timesteps()[1], model.timesteps()[-2])
            for prompt in ("a cat", "")
        ]
    )


def with_adapters(folder, *entries, **settings):
    return load(str(folder), device="cpu", adapters=[str(entry) for entry in entries], **settings)


@pytest.mark.parametrize("name", CLASSES)
def test_its_numbers_are_those_of_diffusers_own_pipeline(originals, own, written, families, name):
    files = [written(name), written(name, seed=1, lora_alpha=5, metadata=True)]
    theirs = own(name)
    for i, file in enumerate(files):
        theirs.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"a{i}")
    theirs.set_adapters(["a0", "a1"], list(WEIGHTS))  # not fused
    expected = outputs(families[name].model(theirs))
    model = with_adapters(originals(name), *map("{}:{}".format, files, WEIGHTS))
    torch.testing.assert_close(outputs(model), expected, **CLOSE)
    assert (outputs(load(str(originals(name)), device="cpu")) - expected).abs().max() > 0.1
    layers = len(load_file(files[0])) // 2
    assert [(one["weight"], one["layers"]) for one in model.adapters] == [
        (WEIGHTS[0], layers),
        (WEIGHTS[1], layers),
    ]


def test_nothing_of_it_remains_but_other_weights(originals, own, written):
    model = with_adapters(originals("sd_v1"), written("sd_v1"))
    plain = own("sd_v1")
    for network, before in (
        (model.denoiser, plain.unet),
        (model.readers[0].encoder, plain.text_encoder),
    ):
        assert not any(isinstance(module, BaseTunerLayer) for module in network.modules())
        assert set(network.state_dict()) == set(before.state_dict())
        assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("name", ["sd_v1", "sdxl"])
def test_a_lora_in_kohyas_names_is_the_same(originals, written, tmp_path, name):
    file = written(name)
    kohya = lora_files.in_kohya(file, tmp_path / "kohya.safetensors", sgm=name == "sdxl")
    expected = outputs(with_adapters(originals(name), f"{file}:0.7"))
    found = outputs(with_adapters(originals(name), f"{kohya}:0.7"))
    torch.testing.assert_close(found, expected, **CLOSE)


def test_every_layer_is_scaled_by_its_own_alpha(originals, own, written, tmp_path):
    """W + w alpha / r B A, layer by layer, which diffusers would scale by the commonest alpha."""

    def alpha(layer):
        return 1.0 if layer.replace(".", "_").endswith(("conv1", "to_q")) else 2.0

    file = written("sd_v1")
    kohya = lora_files.in_kohya(file, tmp_path / "kohya.safetensors", alpha)
    changed = dict(with_adapters(originals("sd_v1"), f"{kohya}:0.7").denoiser.named_parameters())
    held, before = load_file(file), dict(own("sd_v1").unet.named_parameters())
    downs = [name for name in held if name.startswith("unet.") and "lora_A" in name]
    assert {alpha(name.removesuffix(".lora_A.weight")) for name in downs} == {1.0, 2.0}
    for name in downs:
        layer = name.removeprefix("unet.").removesuffix(".lora_A.weight")
        a, b = held[name], held[name.replace("lora_A", "lora_B")]
        product = torch.einsum("or,ri...->oi...", b.flatten(1), a)
        scale = alpha(layer) / lora_files.RANK
        expected = before[f"{layer}.weight"] + 0.7 * scale * product
        torch.testing.assert_close(changed[f"{layer}.weight"], expected)


def test_derivatives_and_attention_are_those_of_the_changed_network(
    originals, own, written, families
):
    theirs = own("sd_v1")
    theirs.load_lora_weights(written("sd_v1").parent, weight_name="lora.safetensors")
    unfused = families["sd_v1"].model(theirs)
    model = with_adapters(originals("sd_v1"), written("sd_v1"))
    x, t, given = model.initial_noise(0, 2), model.timesteps()[3], model.encode(["a cat", "dog"])
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def network(latents):
        return theirs.unet(latents, t, given.embeddings).sample

    with sdpa_kernel(SDPBackend.MATH):  # others have no forward derivative
        expected = torch.func.jvp(network, (x,), (v,))
    prediction, derivative = model.jvp(x, t, given, v)
    torch.testing.assert_close(prediction.raw, expected[0], **CLOSE)
    torch.testing.assert_close(derivative, expected[1], **CLOSE)
    (pullback,) = torch.func.vjp(network, x)[1](v)
    torch.testing.assert_close(model.vjp(x, t, given, v), pullback, **CLOSE)

    found, recorded = model.attend(x, t, given)[1], unfused.attend(x, t, given)[1]
    plain = load(str(originals("sd_v1")), device="cpu").attend(x, t, given)[1]
    for name in ("tokens", "end"):
        torch.testing.assert_close(getattr(found, name), getattr(recorded, name), **CLOSE)
        assert (getattr(found, name) - getattr(plain, name)).abs().max() > 1e-2


def test_it_is_added_to_weights_in_half_precision(originals, written):
    whole = with_adapters(originals("sd_v1"), written("sd_v1")).denoiser.state_dict()
    half = with_adapters(originals("sd_v1"), written("sd_v1"), dtype="float16")
    for name, weight in half.denoiser.state_dict().items():
        assert weight.dtype == torch.float16
        torch.testing.assert_close(weight.float(), whole[name], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_file_of_peft_is_scaled_as_the_settings_beside_it_say(originals, own, tmp_path, rslora):
    theirs = own("sd_v1").unet
    config = lora_files.LoraConfig(
        r=3,
        lora_alpha=5,
        use_rslora=rslora,
        alpha_pattern={"attn1.to_q": 2, "^conv_in": 7},
        target_modules=[*lora_files.LINEAR, "conv_in"],
        init_lora_weights=False,
    )
    tuned = get_peft_model(theirs, config)
    tuned.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    model = with_adapters(originals("sd_v1"), file)
    merged = tuned.merge_and_unload().state_dict()
    for name, weight in model.denoiser.state_dict().items():
        torch.testing.assert_close(weight, merged[name])
    (tmp_path / "adapter_config.json").unlink()
    one_line(lambda: with_adapters(originals("sd_v1"), file), str(file), "adapter_config.json")


def test_names_without_a_network_are_the_denoisers(originals, written, tmp_path):
    held = {
        name.removeprefix("unet."): weight
        for name, weight in load_file(written("sd_v1")).items()
        if name.startswith("unet.")
    }
    save_file(held, tmp_path / "a.safetensors")
    save_file({f"unet.{k}": v for k, v in held.items()}, tmp_path / "b.safetensors")
    models = [with_adapters(originals("sd_v1"), tmp_path / f"{n}.safetensors") for n in "ab"]
    torch.testing.assert_close(*map(outputs, models))


def test_names_of_earlier_diffusers_are_read(originals, written, tmp_path):
    """``attn1.processor.to_q_lora.down`` for ``attn1.to_q.lora_A``."""
    half = {"lora_A": "down", "lora_B": "up"}

    def earlier(match):
        return f".processor.{match[1].removesuffix('.0')}_lora.{half[match[2]]}.weight"

    held = {
        name: weight
        for name, weight in load_file(written("sd_v1")).items()
        if re.search(r"unet.*attn\d\.to_", name)
    }
    save_file(held, tmp_path / "now.safetensors")
    renamed = {
        re.sub(r"\.(to_[\w.]+)\.(lora_[AB])\.weight", earlier, n): w for n, w in held.items()
    }
    assert "processor.to_out_lora.up.weight" in " ".join(renamed)
    save_file(renamed, tmp_path / "earlier.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("now", "earlier")]
    now, before = (with_adapters(originals("sd_v1"), file) for file in files)
    torch.testing.assert_close(outputs(before), outputs(now))


def test_a_lora_beside_the_parts_is_not_said_to_be_left_where_it_is_put_on(saved, written):
    folder = saved("sd_v1")
    shutil.copy(written("sd_v1"), folder)
    (said,) = load(str(folder), device="cpu").cautions
    assert f"'model.adapters=[{folder}/lora.safetensors]'" in said
    assert with_adapters(folder, folder / "lora.safetensors").cautions == []


def changed(written, tmp_path, rule, name="sd_v1"):
    """A LoRA's file with other tensors."""
    save_file(rule(load_file(written(name))), tmp_path / "odd.safetensors")
    return tmp_path / "odd.safetensors"


def refused(originals, file, *said, name="sd_v1"):
    return one_line(lambda: with_adapters(originals(name), file), str(file), *said)


@pytest.mark.parametrize("trained", CLASSES)
@pytest.mark.parametrize("kohya", [False, True])
def test_a_lora_of_another_family_is_refused(originals, written, tmp_path, trained, kohya):
    file = written(trained)
    if kohya:
        if trained.startswith("sd3"):
            pytest.skip("kohya has other names for it, tried below")
        file = lora_files.in_kohya(file, tmp_path / "kohya.safetensors", sgm=trained == "sdxl")
    for name in CLASSES:
        if name == trained or {name, trained} == {"sd_v1", "sd_v2"}:
            continue  # tiny ones are alike in size
        layers = f"the layers of the {CLASSES[name].__name__} ("
        said = refused(originals, file, layers, "give the model that it was trained on", name=name)
        counted = re.search(r"(?:(\d+) of )?its (\d+) weights", said)
        total = len([key for key in load_file(file) if not key.endswith(".alpha")])
        assert 0 < int(counted[1] or total) <= int(counted[2]) == total
        assert "lora" in said.partition(layers)[2]  # the name of a weight
    assert "Stable Diffusion XL" in said or trained != "sdxl"


def test_one_key_that_fits_no_layer_is_named(originals, written, tmp_path):
    pair = {"lora_A": torch.ones(3, 8), "lora_B": torch.ones(8, 3)}
    for layer in ("unet.mid_block.attentions.7.to_q", "text_encoder_2.q_proj", "vae.conv_in"):
        more = {f"{layer}.{half}.weight": weight for half, weight in pair.items()}
        file = changed(written, tmp_path, lambda held, more=more: held | more)
        total = len(load_file(file))
        refused(originals, file, f"2 of its {total} weights fit none", f"{layer}.lora_A")
    wide = {"unet.mid_block.attentions.0.proj_in.lora_A.weight": torch.ones(3, 99, 1, 1)}
    file = changed(written, tmp_path, lambda held: held | wide)
    said = f"1 of its {len(load_file(file))} weights have another shape than the layers"
    refused(
        originals, file, said, "proj_in.lora_A.weight is [3, 99, 1, 1], expected [3, 16, 1, 1]"
    )


def test_a_file_that_fits_nothing_is_named(originals, tmp_path):
    names = [f"lora_unet_joint_blocks_{i}_x_block_attn_qkv" for i in range(3)]
    halves = {"lora_down": torch.ones(3, 8), "lora_up": torch.ones(8, 3)}
    held = {f"{n}.{half}.weight": weight.clone() for n in names for half, weight in halves.items()}
    save_file(held, tmp_path / "sd3.safetensors")
    for family in ("sd3_without_t5", "sd_v1"):
        refused(
            originals,
            tmp_path / "sd3.safetensors",
            "its 6 weights",
            "joint_blocks_0",
            "kohya's names",
            name=family,
        )


CONV = "unet.down_blocks.0.resnets.0.conv1"
ODD = {
    "half of a layer": ({f"{CONV}.lora_B.weight": None}, "1 of its", "no plain LoRA", CONV),
    "a third matrix": ({f"{CONV}.lora_mid.weight": torch.ones(3, 3)}, "no plain LoRA", "lora_mid"),
    "a bias": ({f"{CONV}.lora_B.bias": torch.ones(8)}, "no plain LoRA", "lora_B.bias"),
    "an alpha of nothing": ({"unet.x.alpha": torch.tensor(1.0)}, "no plain LoRA", "unet.x.alpha"),
    "an alpha that is none": ({f"{CONV}.alpha": torch.tensor(torch.nan)}, "is no finite number"),
    "two ranks": ({f"{CONV}.lora_B.weight": torch.ones(8, 5, 1, 1)}, "of rank 3", "of 5"),
    "NaN": ({f"{CONV}.lora_B.weight": torch.full((8, 3, 1, 1), torch.nan)}, "NaN or infinite"),
    "a DoRA": ({f"{CONV}.lora_magnitude_vector": torch.ones(8)}, "a DoRA", "1 of its"),
    "a LoHa": ({f"{CONV}.hada_w1_a": torch.ones(8, 8)}, "LyCORIS"),
    "a vector": (
        {f"{CONV}.lora_A.weight": torch.ones(3), f"{CONV}.lora_B.weight": torch.ones(3)},
        "is [3]; expected a matrix",
    ),
    "a whole model": ({"model.diffusion_model.out.2.bias": torch.ones(4)}, "model.path=FILE"),
    "too large": (
        {
            f"{CONV}.lora_A.weight": torch.full((3, 8, 3, 3), 1e30),
            f"{CONV}.lora_B.weight": torch.full((8, 3, 1, 1), 1e30),
        },
        "NaN or infinite in float32",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_plain_lora_is_refused(originals, written, tmp_path, odd):
    change, *said = ODD[odd]

    def rule(held):
        return {name: weight for name, weight in (held | change).items() if weight is not None}

    refused(originals, changed(written, tmp_path, rule), *said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unet.use_dora": True}, "use_dora"),
        ({"unet.peft_type": "LOHA"}, "peft_type=LOHA"),
        ({"unet.bias": "all"}, "bias=all"),
        ({"unet.modules_to_save": ["conv_in"]}, "modules_to_save"),
        ({"unet.lora_alpha": "8"}, "lora_alpha 8"),
        ({"unet.alpha_pattern": {"(a+)+$": 3}}, "'(a+)+$'"),
        ({"unet.alpha_pattern": [8]}, "alpha_pattern=[8]"),
        ({"unet.alpha_pattern": {"to_q": float("nan")}}, "lora_alpha nan of 'to_q'"),
    ],
)
def test_settings_of_another_adapter_are_refused(originals, written, tmp_path, settings, said):
    file, header = tmp_path / "odd.safetensors", {"lora_adapter_metadata": json.dumps(settings)}
    save_file(load_file(written("sd_v1")), file, header)
    refused(originals, file, said)
    for broken in ("{", "[]", "3"):
        save_file(load_file(written("sd_v1")), file, {"lora_adapter_metadata": broken})
        refused(originals, file, "lora_adapter_metadata", "no JSON")
