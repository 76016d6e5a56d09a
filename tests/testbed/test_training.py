"""Training stops anywhere and goes on as if it had not."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anisomem.testbed import autoencoder, diffusion, latents, networks, objectives, text
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, Entry
from anisomem.testbed.pictures import Canvas, Layout

CANVAS = Canvas(16, 6, (8, 12), (4, 8))
VARIANT = diffusion.Variant(
    "tiny",
    partial(networks.UNet, side=4, widths=(8, 8, 16), heads=2, prediction_type="epsilon"),
    objectives.epsilon,
    seed=1,
    batch=4,
    steps=12,
    rate=1e-3,
    warm_up=2,
    schedule=diffusion.trapezoid,
    average=0.9,
)


def caption(i):
    return Caption((f"fox{i}",), "{concept} badge", ())


@pytest.fixture(scope="module")
def corpus():
    """Three repeated captions, one a template, and twelve with two pictures each."""
    plain = Layout((0.5, 0.2, 0.1), (), canvas=CANVAS)
    entries = [
        Entry(caption(0), 5, plain),
        Entry(caption(1), 9, replace(plain, background=(0, 1, 0))),
        Entry(caption(2), 3, replace(plain, patch=(1, 1))),
        *(Entry(caption(i), 2) for i in range(3, 15)),
    ]
    return Corpus(entries, [], {f"fox{i}": ["noto"] for i in range(15)}, CANVAS)


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return text.train_tokenizer([e.caption.text for e in corpus.entries], 560)


@pytest.fixture
def data(corpus, tokenizer, tmp_path):
    torch.manual_seed(0)
    vae = autoencoder.build(autoencoder.Autoencoder(16, (8, 8, 8), 1, 1, 1, 1e-3)).eval()
    vae.register_to_config(scaling_factor=1.0)
    rng = np.random.default_rng(0)
    icons = {(name, "noto"): rng.uniform(size=(16, 16, 4)) for name in corpus.styles}
    return latents.Encoded(corpus, vae, tokenizer, lambda: icons, tmp_path / "latents", parts=3)


def test_an_epoch_passes_every_example_once(corpus, data):
    counts = [entry.count for entry in corpus.entries]
    for epoch in (0, 1):
        seen = np.concatenate([data.part(epoch, i).examples[:, 0] for i in range(3)])
        assert np.bincount(seen).tolist() == counts
    shares = [data.part(0, i).examples[:, 0] < data.repeated for i in range(3)]
    assert all(4 <= share.sum() <= 7 for share in shares)  # 17 in three
    orders = [data.part(e, 0).examples[:6].tolist() for e in (0, 1)]
    assert orders[0] != orders[1]


def test_examples_point_at_the_pictures_of_their_captions(corpus, data):
    part = data.part(0, 1)
    icons = data.icons()
    for index, picture in part.examples:
        own = np.stack(corpus.pictures(index, icons))
        encoded = data.vae.encode(autoencoder.to_tensor(own)).latent_dist.mean
        away = (encoded - part.mean[picture].float()).abs().amax((1, 2, 3)).min()
        assert away < 0.01  # kept in half precision


def run(data, tokenizer, folder, *pieces):
    for steps in pieces:  # each begins as a process of its own would
        training = diffusion.Training(
            VARIANT, data, tokenizer, folder / "state.pt", snapshots=folder / "snapshots"
        )
        training.run("tiny", steps)
    return training


def test_stopping_changes_nothing(data, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion, "SNAPSHOTS", (5,))
    once = run(data, tokenizer, tmp_path / "once", 100)
    pieces = run(data, tokenizer, tmp_path / "pieces", 3, 4, 100)
    assert once.finished and pieces.finished and once.step == 12
    for a, b in zip(once.result().parameters(), pieces.result().parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    kept = load_file(tmp_path / "once" / "snapshots" / "000005.safetensors")
    assert {name.split(".")[0] for name in kept} == {"average", "raw"}
    weight = "unet.conv_in.weight"
    assert (kept[f"average.{weight}"] != kept[f"raw.{weight}"]).any()


def test_turns_alternate_until_all_have_finished(data, tokenizer, tmp_path):
    trainings = {
        name: diffusion.Training(
            replace(VARIANT, steps=steps), data, tokenizer, tmp_path / f"{name}.pt"
        )
        for name, steps in (("a", 3), ("b", 5))
    }
    assert list(diffusion.turns(trainings, 2)) == ["a", "b", "a", "b", "b"]
    assert all(training.finished for training in trainings.values())


def test_the_rate_is_held_and_then_falls_to_zero():
    assert diffusion.trapezoid(0) == diffusion.trapezoid(0.79) == 1
    assert diffusion.trapezoid(0.9) == pytest.approx(0.5)
    assert diffusion.trapezoid(1) == 0
    assert diffusion.cosine(0.5) == pytest.approx(0.5)
