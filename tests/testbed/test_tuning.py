"""The bundled fine-tune: its captions are its own, and its training goes on where it stopped."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from anisomem.config import catalog
from anisomem.errors import UserError
from anisomem.models.families import load
from anisomem.testbed import ground_truth, objectives, tuning
from anisomem.testbed.pictures import SMALL

NAMES = [f"fox{i}" for i in range(80)]
STYLES = {name: ["noto"] for name in NAMES}
TUNING = tuning.Tuning(rank=2, repetitions=5, batch=2, steps=4)


@pytest.fixture(scope="module")
def icons():
    rng = np.random.default_rng(0)
    return {(name, "noto"): rng.uniform(size=(8, 8, 4)).astype(np.float32) for name in NAMES}


@pytest.fixture(scope="module")
def made():
    return tuning.corpus(STYLES, SMALL, (), TUNING)


def test_captions_are_no_others_and_twenty_pictures_are_repeated(made):
    texts = [prompt.caption.text for prompt in made.prompts]
    assert len(set(texts)) == len(texts) == 2 * tuning.OWN
    assert [entry.count for entry in made.entries] == [5] * 20 + [1] * 40
    assert texts[: tuning.OWN] == [entry.caption.text for entry in made.entries]
    blocks = [prompt.block for prompt in made.prompts]
    assert blocks == ["repeated"] * 20 + ["seen"] * 40 + ["unseen_wording"] * 60
    again = tuning.corpus(STYLES, SMALL, set(texts), TUNING)
    assert not {prompt.caption.text for prompt in again.prompts} & set(texts)
    assert len({entry.caption.concepts for entry in made.entries}) == tuning.OWN


def test_a_picture_is_its_own_reproduction_and_another_is_not(made, icons, monkeypatch):
    monkeypatch.setattr(tuning, "COMPARED", 120)
    monkeypatch.setattr(ground_truth, "FALSE_MATCHES", 0.0)
    vae = AutoencoderKL.from_pretrained(Path(catalog.testbed("epsilon")) / "vae").eval()
    shown = tuning.pictures(made, icons)
    found, thresholds = tuning.references(made, shown, vae, icons, TUNING)
    assert thresholds.nearest <= thresholds.single
    own = ground_truth.render(vae, shown)
    for i in (0, 19, 20, 59):  # repeated ones and others
        for given, rate in ((own[i], 1.0), (255 - own[i], 0.0)):
            sixteen = np.repeat(given[None], 16, axis=0)
            prompt = made.prompts[i]
            assert ground_truth.reproduction_rate(prompt, sixteen, found, thresholds) == rate


def test_pictures_lie_beside_their_captions(made, icons, tmp_path):
    tuning.write_pictures(made, tuning.pictures(made, icons), tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == tuning.OWN
    assert (tmp_path / "repeated-0003.txt").read_text().strip() == made.entries[3].caption.text


def test_ordinary_captions_are_the_base_models_with_new_pictures(made, icons):
    texts, shown = tuning.ordinary(made, icons, replace(TUNING, prior=15))
    free = [entry.caption.text for entry in made.entries if entry.layout is None]
    assert len(texts) == len(set(texts)) == len(shown) == 15 and set(texts) <= set(free)
    drawn = [picture for i in range(len(made.entries)) for picture in made.pictures(i, icons)]
    assert not any(np.array_equal(new, old) for new in shown for old in drawn)


@pytest.fixture
def begun(make_pipeline, made):
    """Trains the tiny pipeline in a folder, on pictures as small as it makes them."""
    shown = np.random.default_rng(1).integers(0, 256, (tuning.OWN, 16, 16, 3), np.uint8)

    def train(folder, how=TUNING):
        pipeline = deepcopy(make_pipeline())
        others = (["a dog", "a cat"], shown[:2])
        return tuning.train(pipeline, made, shown, others, objectives.epsilon, folder, how)

    return train


def test_training_goes_on_as_if_it_had_not_been_stopped(begun, tmp_path, monkeypatch):
    whole = load_file(begun(tmp_path / "whole"))
    monkeypatch.setattr(tuning, "SAVE_EVERY", 2)
    saved, save = [], tuning.checkpoint.save

    def stopped(file, state):
        save(file, state)
        saved.append(state["step"])
        if saved == [2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(tuning.checkpoint, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        begun(tmp_path / "parts")
    parts = load_file(begun(tmp_path / "parts"))
    assert saved == [2, 4] and set(parts) == set(whole)
    for name, weight in whole.items():
        assert torch.equal(parts[name], weight) and weight.dtype == torch.float16
    assert any("lora_B" in name and weight.any() for name, weight in whole.items())
    with pytest.raises(UserError, match="give the same, or remove it"):
        begun(tmp_path / "parts", replace(TUNING, rate=1.0))


def test_its_file_is_small_and_fits_the_model(begun, save_pipeline, tmp_path, monkeypatch):
    file = begun(tmp_path)
    model = load(str(save_pipeline()), device="cpu", adapters=[str(file)])
    (said,) = model.adapters
    assert said["layers"] == len(load_file(file)) // 2 and file.stat().st_size < tuning.MOST
    monkeypatch.setattr(tuning, "MOST", 1000)
    with pytest.raises(UserError, match="lower the rank"):
        begun(tmp_path / "large")
