"""Training stops anywhere and goes on as if it had not."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from anisomem.errors import UserError
from anisomem.testbed import (
    autoencoder,
    diffusion,
    ground_truth,
    latents,
    networks,
    objectives,
    text,
)
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus, Entry, EvaluationPrompt
from anisomem.testbed.pictures import Canvas, PictureLayout

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
    plain = PictureLayout((0.5, 0.2, 0.1), (), canvas=CANVAS)
    entries = [
        Entry(caption(0), 5, plain, later=5),
        Entry(caption(1), 9, replace(plain, background=(0, 1, 0)), later=2),
        Entry(caption(2), 3, replace(plain, patch=(1, 1)), later=8),
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


def test_in_the_second_stage_repeated_captions_come_as_often_as_it_says(corpus, data):
    for epoch in (0, 1):
        examples = np.concatenate([data.part(epoch, i, later=True).examples for i in range(3)])
        assert np.bincount(examples[:, 0]).tolist() == [5, 2, 8] + [2] * 12
        own = examples[examples[:, 0] == 2, 1]  # a template's three pictures, eight times
        assert sorted(np.unique(own, return_counts=True)[1].tolist()) == [2, 3, 3]


def test_the_second_stage_begins_with_an_epoch_of_its_own(data, monkeypatch):
    asked = []
    data.part(0, 0)
    made = data.part
    monkeypatch.setattr(data, "part", lambda *place: asked.append(place) or made(*place))
    data.second = 8
    for step in range(16):  # 41 examples in three parts: three batches of four each
        data.batch(step, 4, seed=0)
    assert asked == [(0, 0, False), (0, 1, False), (0, 2, False)] + [
        (1, i, True) for i in range(3)
    ]


def test_examples_point_at_the_pictures_of_their_captions(corpus, data):
    part = data.part(0, 1)
    icons = data.icons()
    for index, picture in part.examples:
        own = np.stack(corpus.pictures(index, icons))
        encoded = data.vae.encode(autoencoder.to_tensor(own)).latent_dist.mean
        away = (encoded - part.mean[picture].float()).abs().amax((1, 2, 3)).min()
        assert away < 0.01  # kept in half precision


def test_latents_of_another_autoencoder_are_refused(corpus, data, tokenizer):
    data.part(0, 1)
    torch.manual_seed(1)
    other = autoencoder.build(autoencoder.Autoencoder(16, (8, 8, 8), 1, 1, 1, 1e-3)).eval()
    mixed = latents.Encoded(corpus, other, tokenizer, data.icons, data.folder, parts=3)
    with pytest.raises(UserError, match="another autoencoder"):
        mixed.part(0, 1)
    polished = deepcopy(data.vae)
    torch.nn.init.zeros_(polished.decoder.conv_out.weight)
    latents.Encoded(corpus, polished, tokenizer, data.icons, data.folder, parts=3).part(0, 1)


def test_references_are_the_training_pictures_as_the_decoder_renders_them(corpus, data, tmp_path):
    found = ground_truth.References.decode(data, data.vae, tmp_path / "rendered")
    drawn = [np.stack(corpus.pictures(i, data.icons())) for i in range(len(corpus.entries))]
    assert [len(p) for p in found.pictures] == [1, 1, 1] + [2] * 12
    for i, own in enumerate(drawn):
        rendered = ground_truth.render(data.vae, own[:1] if i < 3 else own)
        away = np.abs(rendered.astype(int) - found.pictures[i].astype(int))
        assert away.max() <= 2  # latents are kept in half precision
    assert found.by_concept["fox7"] == [7] and found.repeated == [0, 1, 2]


def test_what_is_on_another_device_is_read_once(data, monkeypatch):
    names = list(data.files)
    stored, read = {name: data.file(name) for name in names}, []
    monkeypatch.setattr(data, "file", lambda name: read.append(name) or stored[name])
    data.vae.to("meta")  # a device without numbers stands for a GPU
    for epoch in (0, 1):
        assert [data.part(epoch, i).mean.device.type for i in range(3)] == ["meta"] * 3
    assert sorted(read) == sorted(names)


def test_of_ordinary_captions_a_part_and_those_of_the_prompts_are_searched(corpus, data, tmp_path):
    others = [i for name in list(data.files)[2:] for i in data.files[name].tolist()]
    asked = EvaluationPrompt(corpus.entries[others[0]].caption, "seen", 0)
    data.corpus = replace(corpus, prompts=[asked])
    found = ground_truth.References.decode(data, data.vae, tmp_path / "rendered", parts=1)
    searched = {0, 1, 2, *data.files["ordinary-00"].tolist(), others[0]}
    assert [i for i, p in enumerate(found.pictures) if len(p)] == sorted(searched)
    assert {i for own in found.by_concept.values() for i in own} == searched
    own = ground_truth.render(data.vae, np.stack(corpus.pictures(others[0], data.icons())))
    np.testing.assert_array_equal(found.pictures[others[0]], own)
    again = ground_truth.References.decode(data, data.vae, tmp_path / "rendered", parts=1)
    np.testing.assert_array_equal(again.pictures[others[0]], own)


def weights(model):
    return [p.detach() for p in model.parameters()]


def run(variant, data, tokenizer, folder, *pieces):
    for steps in pieces:  # each begins as a process of its own would
        training = diffusion.Training(
            variant, data, tokenizer, folder / "state.pt", snapshots=folder / "snapshots"
        )
        training.run("tiny", steps)
    return training


def test_stopping_changes_nothing(data, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion, "SNAPSHOTS", (5,))
    once = run(VARIANT, data, tokenizer, tmp_path / "once", 100)
    pieces = run(VARIANT, data, tokenizer, tmp_path / "pieces", 3, 4, 100)
    assert once.finished and pieces.finished and once.step == 12
    for a, b in zip(once.result().parameters(), pieces.result().parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    file = tmp_path / "once" / "snapshots" / "000005.safetensors"
    average, raw = (diffusion.snapshot(VARIANT, tokenizer, file, w) for w in ("average", "raw"))
    away = [(a - b).abs().max() for a, b in zip(*map(weights, (average, raw)), strict=True)]
    assert max(away) > 0
    # Five steps of the same training, in float16.
    five = run(replace(VARIANT, steps=5), data, tokenizer, tmp_path / "five", 5)
    for a, b in zip(weights(five.result()), weights(average), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-3)


def test_products_in_half_precision_learn_nearly_the_same(data, tokenizer, tmp_path):
    weights_of = []
    for half in (False, True):
        state = tmp_path / f"{half}.pt"
        training = diffusion.Training(replace(VARIANT, steps=6), data, tokenizer, state)
        training.half = half
        training.run("tiny", 6)
        weights_of.append(weights(training.result()))
    away = [(a - b).abs().max() for a, b in zip(*weights_of, strict=True)]
    assert 0 < max(away) < 0.02


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
