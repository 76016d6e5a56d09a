"""Small trainings: what each sees, and that arms differ in what they say they do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from anisomem.config import catalog
from anisomem.testbed import arms, icons, objectives
from anisomem.testbed.diffusion import Training

NAMES = [f"thing {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)]
BUNDLED = Path(catalog.testbed("epsilon"))


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer")


@pytest.fixture
def made(tokenizer, monkeypatch):
    """The pictures of an arm, of icons that are made up."""
    drawing = np.random.default_rng(0).uniform(size=(8, 8, 4))
    monkeypatch.setattr(icons, "concept_names", lambda packages: {n: ["noto"] for n in NAMES})
    monkeypatch.setattr(
        icons, "render", lambda packages, concepts, side: {(n, "noto"): drawing for n in NAMES}
    )
    monkeypatch.setattr(arms, "BLOCK", 8)
    vae = AutoencoderKL.from_pretrained(BUNDLED / "vae").eval()

    def pictures(name, **changes):
        return arms.Pictures(replace(arms.ARMS[name], **changes), Path(), vae, tokenizer)

    return pictures


def test_arms_differ_from_the_first_in_their_factor_alone():
    first, *others = arms.ARMS.values()
    for arm in others:
        changed = [
            name
            for one, two in ((first, arm), (first.variant, arm.variant))
            for name, value in vars(two).items()
            if name not in ("factor", "variant") and value != getattr(one, name)
        ]
        allowed = (
            {"canvas", "build"} if arm.factor == "trained size of latents" else {*changed[:1]}
        )
        assert changed and set(changed) == allowed, arm.factor
    assert arms.ARMS["16 x 16"].canvas.textured == 0


def test_every_arm_has_the_same_captions(made):
    first, other = made("flat"), made("16 x 16")
    assert first.texts == other.texts and len(set(first.texts)) == len(first.texts) == 190
    assert torch.equal(first.tokens, other.tokens)
    assert first.latents.shape == (40, 4, 8, 8) and other.latents.shape == (40, 4, 16, 16)
    repeated, controls = set(first.own), set(first.controls)
    assert len(repeated) == 40 and not repeated & controls


@pytest.mark.parametrize(("name", "often"), [("flat", 8), ("1 in 8 repeated", 2)])
def test_a_batch_has_its_share_of_repeated_pictures_with_their_captions(made, name, often):
    data = made(name)
    x0, captions = data.batch(3, 16, seed=5)
    assert (captions < data.repeated).sum() == often
    for latent, caption in zip(x0[:often], captions[:often], strict=True):
        assert torch.equal(latent, data.latents[caption])
    again, same = data.batch(3, 16, seed=5)
    assert torch.equal(again, x0) and (same == captions).all()


def test_a_finite_number_of_ordinary_pictures_comes_again_and_an_endless_one_does_not(made):
    finite, endless = made("flat", ordinary=16), made("endless ordinary")
    rows = slice(8, None)
    few = [finite.batch(step, 16, 0)[0][rows] for step in range(4)]
    assert torch.equal(few[0], few[2]) and torch.equal(few[1], few[3])
    many = torch.cat([endless.batch(step, 16, 0)[0][rows] for step in range(4)])
    assert len(many.flatten(1).unique(dim=0)) == 32


def test_where_the_repeated_are_hidden_their_captions_are_never_dropped(
    made, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr("anisomem.testbed.diffusion.DROPOUT", 0.9)
    for hidden in (False, True):
        variant = replace(arms.ARMS["flat"].variant, hidden=hidden, batch=16)
        data = made("flat")
        training = Training(variant, data, tokenizer, tmp_path / f"{hidden}.pt")
        seen = []
        monkeypatch.setattr(
            training, "learn", lambda x, t, tokens, *_, seen=seen: seen.append(tokens) or t
        )
        training._optimise()
        empty = (seen[0] == training.empty).all(1)
        assert empty[8:].any() and empty[:8].any() != hidden


def test_a_plain_loss_weighs_every_noise_level_alike():
    torch.manual_seed(0)
    x0 = torch.randn(64, 4, 8, 8)
    plain = objectives.diffusion(x0, "epsilon", plain=True)
    weighted = objectives.diffusion(x0, "epsilon")
    assert plain.weight.eq(1).all() and weighted.weight.max() == 30


def test_a_training_keeps_weights_on_its_way_and_goes_on(made, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("anisomem.testbed.diffusion.SNAPSHOTS", (1, 2))
    short = replace(arms.ARMS["flat"].variant, steps=2, batch=4)
    monkeypatch.setattr(arms, "ARMS", {"flat": replace(arms.ARMS["flat"], variant=short)})
    files = arms.trained("flat", made("flat"), tokenizer, tmp_path)
    assert [file.stem for file in files] == ["000001", "000002"]
    before = [file.read_bytes() for file in files]
    assert arms.trained("flat", made("flat"), tokenizer, tmp_path) == files
    assert [file.read_bytes() for file in files] == before
