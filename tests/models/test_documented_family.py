"""The family that docs/models.md adds: its code is run as it stands there, as a user's module."""

import importlib.util
import re
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
)
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from anisomem.config import compose
from anisomem.config.build import build
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.mitigation.ren import RenAttention
from anisomem.models.loading import Source
from anisomem.models.outline import Outline
from baselines.bright_ending import BrightEnding

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
SIDE = 8  # of the latents; pictures have twice as many pixels


def block(language):
    """The one block of code in a language on the page."""
    (found,) = re.findall(
        rf"^```{language}\n(.*?)^```$", DOCS.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    return found


#: By how much weights are scaled, by a part of their names: prompts and timesteps matter then.
LOUDER = {
    "norm": 2,
    "context_embedder": 8,
    "to_q": 8,
    "add_k": 8,
    "to_k": 8,
    "add_v": 30,
    "to_v": 30,
    "to_out": 30,
}


class Small(AuraFlowPipeline):
    """Whose pictures are small by default, as those of the other tiny pipelines are."""

    def __call__(self, *arguments, **options):
        return super().__call__(*arguments, height=2 * SIDE, width=2 * SIDE, **options)


Small.__name__ = AuraFlowPipeline.__name__


def tiny(dtype=torch.float32):
    pieces = [(word, -1.0) for word in ("▁a", "▁cat", "▁red", "▁dog", "▁very")]
    letters = [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = T5Tokenizer([*special, *pieces, *letters], extra_ids=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = AuraFlowTransformer2DModel(
            sample_size=SIDE,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=24,
            caption_projection_dim=16,
            pos_embed_max_size=SIDE**2,
        )
        reads = {"vocab_size": len(words), "d_model": 24, "d_kv": 4, "d_ff": 16, "num_heads": 2}
        vae = AutoencoderKL(
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=16,
        )
        with torch.no_grad():
            transformer.proj_out.weight.mul_(3)
            for name, weight in transformer.named_parameters():
                for part, factor in LOUDER.items():
                    if part in name:
                        weight.mul_(factor)
        pipeline = Small(
            words,
            UMT5EncoderModel(UMT5Config(**reads, num_layers=1)).eval(),
            vae.eval(),
            transformer,
            FlowMatchEulerDiscreteScheduler(shift=1.73),
        ).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def module(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Documented:
    """As a Family of the other tests."""

    def __init__(self, model):
        self.model, self.pipelines = model, {}

    def build(self, dtype=torch.float32):
        return self.pipelines.setdefault(dtype, tiny(dtype))


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "auraflow.py"
    file.write_text(block("python"))
    return Documented(module("documented_auraflow", file).AuraFlow)


#: Of another tokenizer's words, and by how much the prompt matters; this file has its own.
OWN = ("test_truncated_counts_prompts_that_encoding_cuts", "test_prompts_and_timesteps_matter")
CHECKS = {
    name: check
    for name, check in vars(
        module("checks_of_families", Path(__file__).with_name("test_conformance.py"))
    ).items()
    if name.startswith("test_") and name not in OWN
    if [*signature(check).parameters] == ["family"]
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_documented_family_passes_what_every_family_must(check, documented):
    CHECKS[check](documented)


def test_prompts_and_timesteps_matter_far_beyond_what_the_checks_allow(documented):
    model = documented.model(documented.build())
    x = model.initial_noise(0, 1).repeat(3, 1, 1, 1)
    early, late = (model.timesteps()[i] for i in (0, -3))
    c = model.encode(["a cat", "a red dog", ""])
    raw = model.predict(x, early, c).raw
    for a, b in [(raw[0], raw[2]), (raw[1], raw[2]), (raw[0], raw[1])]:
        assert float((a - b).norm() / b.norm()) > 5e-3  # and pipelines agree to 1e-5
    other = model.predict(x, late, c).raw
    assert float((raw - other).norm() / raw.norm()) > 0.05


def test_prompts_beyond_its_declared_limit_are_cut(documented):
    model = documented.model(documented.build())
    assert model.truncated(["a " * 255, "a " * 256, "a cat"]) == 1  # and a mark of the end


def test_a_users_module_is_loaded_by_its_class_and_refuses_what_it_does_not_declare(
    tmp_path, monkeypatch, documented
):
    documented.build().save_pretrained(tmp_path / "model", safe_serialization=True)
    (tmp_path / "auraflow_of_mine.py").write_text(block("python"))
    monkeypatch.chdir(tmp_path)
    chosen = [
        "model=diffusers_folder",
        "model._target_=auraflow_of_mine.AuraFlow.load",
        f"model.path={tmp_path / 'model'}",
        "model.device=cpu",
    ]
    (composed,) = compose.cases([*chosen, "dataset=testbed_epsilon"])
    model = build(composed.model, "model")
    monkeypatch.delitem(sys.modules, "auraflow_of_mine")
    own = documented.model(documented.build())
    x, t = model.initial_noise(0, 2), model.timesteps()[7]
    raw = [m.predict(x, t, m.encode(["a cat", ""])).raw for m in (model, own)]
    torch.testing.assert_close(*raw)
    with pytest.raises(UserError, match=r"\(AuraFlow\) does not say where a prompt's text ends"):
        RenAttention("ren")(model, ["a cat"], x[:1], [0])

    with pytest.raises(UserError, match=r"be: .* has no cross-attention; leave out the detectors"):
        Engine(model, [BrightEnding("be", 1)])  # before anything is evaluated


def test_its_memory_is_known_without_its_weights(tmp_path, documented):
    pipeline = documented.build()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    outline = Outline(documented.model, tmp_path)
    networks = (pipeline.transformer, pipeline.text_encoder, pipeline.vae)
    assert outline.latent_shape == documented.model(pipeline).latent_shape
    assert outline.parameters == sum(p.numel() for n in networks for p in n.parameters())
    # At the least, what every token of prompt and latents is between two layers.
    assert outline.activations(torch.float32) > (256 + SIDE**2 // 4) * 16 * 4


def test_the_documented_configuration_is_one():
    node = yaml.safe_load(block("yaml"))
    target = node.pop("_target_")
    assert node.pop("defaults") == ["diffusers_folder"]
    assert target == "anisomem.models.auraflow.AuraFlow.load"
    assert set(node) <= {field.name for field in fields(Source)}
