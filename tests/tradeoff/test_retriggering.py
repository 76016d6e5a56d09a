"""What a search finds, how its pictures are judged, and what is kept."""

import numpy as np
import pytest
import torch

from anisomem.cli.main import main
from anisomem.config import catalog
from anisomem.engine.batches import Batches
from anisomem.errors import UserError
from anisomem.evaluation import effective_clusters
from anisomem.measures.base import Generated, Statistic, mean
from anisomem.measures.pixels import PixelL2
from anisomem.measures.retrigger import Retrigger
from anisomem.measures.seeds import Moved
from anisomem.mitigation.guard import Guard
from anisomem.mitigation.none import NoMitigation
from anisomem.mitigation.padding import PaddingMask
from anisomem.mitigation.wen import WenDescent
from anisomem.models import families
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.tradeoff.results import TradeoffResults
from anisomem.tradeoff.retriggering import Defence, search
from anisomem.tradeoff.trial import Trial

SEEDS = [3, 4]


@pytest.fixture
def model(make_pipeline):
    return DiffusersUNet(make_pipeline(dtype=torch.float64), "sd14")


@pytest.fixture
def latents(model):
    return model.initial_noise(99, 1)


def asked(**settings):
    return Retrigger("again", judge=PixelL2("pixel_l2"), **settings)


def defence(model, mitigation, text="a red cat"):
    return Defence(model, mitigation, text, SEEDS, Batches(model))


def test_encoded_prompts_are_offset_and_the_empty_one_is_not(model):
    plain = model.encode(["dog", "", "cat"]).embeddings
    offset = torch.ones(plain.shape[1:], dtype=plain.dtype)
    with model.offset(offset):
        found = model.encode(["dog", "", "cat"]).embeddings
    torch.testing.assert_close(found, plain + torch.tensor([1, 0, 1])[:, None, None])
    torch.testing.assert_close(model.encode(["dog"]).embeddings, plain[:1])  # and later none


def test_a_search_is_adam_on_the_denoising_loss(model, latents):
    settings = asked(steps=3, lr=0.02, batch=4, radius=10.0)
    found, losses = search(defence(model, NoMitigation("none")), latents, settings, 10)
    generator, t = torch.Generator().manual_seed(0), torch.tensor(model.timesteps(10))
    given = model.encode(["a red cat"])
    embeddings = given.embeddings.clone().requires_grad_()
    adam = torch.optim.Adam([embeddings], lr=0.02)
    for loss in losses:
        noise = torch.randn(4, *model.latent_shape, generator=generator)
        times = t[torch.randint(10, (4,), generator=generator)]
        alpha_bar = model.schedule.alphas_cumprod[times][:, None, None, None].float()
        x = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise
        states = embeddings.expand(4, -1, -1)
        predicted = model.pipeline.unet(x.double(), times, states, return_dict=False)[0]
        value = (predicted - noise).square().mean()
        assert loss == pytest.approx(float(value.detach()))
        (embeddings.grad,) = torch.autograd.grad(value, embeddings)
        adam.step()
    moved = (embeddings - given.embeddings).detach()[0]
    torch.testing.assert_close(found, moved, rtol=1e-4, atol=1e-6)


def test_a_search_stays_at_the_trajectorys_timesteps():
    flow = families.load(catalog.testbed("flow"), device="cpu")
    own, asked_at, predict = flow.timesteps(28), [], flow.predict

    def recorded(x, t, conditioning):
        asked_at.extend(t.tolist())
        return predict(x, t, conditioning)

    flow.predict = recorded
    about = Defence(flow, NoMitigation("none"), "a fox", SEEDS, Batches(flow))
    search(about, flow.initial_noise(9, 1), asked(steps=2, batch=8), 28)
    assert len(asked_at) == 16 and set(asked_at) <= set(own)


@pytest.mark.parametrize("mitigation", [NoMitigation("n"), Guard("g", factor=0.5)])
def test_a_longer_search_lowers_the_loss_and_stays_close(model, latents, mitigation):
    one = defence(model, mitigation)
    assert one.through
    settings = asked(steps=25, batch=16, radius=0.3)
    found, losses = search(one, latents, settings, 10)
    whole = model.encode(["a red cat"]).embeddings
    assert float(found.norm() / whole.norm()) == pytest.approx(0.3)  # it is cut to this length
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    again, _ = search(one, latents, settings, 10)
    assert torch.equal(found, again)


def test_it_goes_through_what_evaluates_nothing_and_beside_what_does(model, latents):
    masked = defence(model, PaddingMask("p", share=1.0))
    found, _ = search(masked, latents, asked(steps=2), 10)
    end = int(model.encode(["a red cat"]).end)
    # What is set to zero whatever stands there has no gradient.
    assert masked.through and (found[end + 1 :] == 0).all() and (found[: end + 1] != 0).any()

    descent = defence(model, WenDescent("w", steps=2))
    assert not descent.through
    offset = torch.full_like(found, 0.01)
    seen = descent.seen(offset).conditioning.embeddings
    torch.testing.assert_close(seen, descent.start.conditioning.embeddings + offset)
    with model.offset(offset):  # but it is applied again to what is then sampled
        applied = descent.applied().conditioning.embeddings
    given = model.encode(["a red cat"])
    assert not torch.allclose(applied, seen) and not torch.allclose(applied, given.embeddings)


def test_what_returns_counts_among_what_was_stopped():
    rng = np.random.default_rng(0)
    copy, other = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    measure = asked()
    measure.judge._known = type("Known", (), {"pictures": {"a": [copy]}})()
    before, after = np.stack([copy, other, other]), np.stack([copy, copy, other])
    found = measure(Generated("a", "", before, before, after))
    assert {name: values.tolist() for name, values in found.items()} == {
        "retriggered": [1, 1, 0],
        "stopped": [0, 1, 1],
        "returned": [0, 1, 0],
    }
    with pytest.raises(ValueError, match="after a search"):
        measure(Generated("a", "", before, before))


def test_a_share_among_some_pictures_by_hand(compose, monkeypatch):
    trial = Trial(compose(), "made")
    one = Statistic("returned", "copying", "returned", mean, percent=True, among="stopped")
    monkeypatch.setattr(PixelL2, "statistics", property(lambda self: (one,)))
    settings, n = len(trial.settings), 3
    stopped, returned = np.zeros((2, settings, n, 2))
    stopped[1] = [[1, 1], [1, 0], [0, 0]]
    returned[1] = [[1, 0], [1, 0], [0, 0]]

    def stored(self, frame, columns, rows):
        return {name: {"stopped": stopped, "returned": returned}[name] for name in columns}

    monkeypatch.setattr(TradeoffResults, "_stored", stored)
    results = TradeoffResults(trial)
    found = results.estimates_of(one, "memorized")
    assert found.values[1] == pytest.approx(2 / 3) and np.isnan(found.values[0])
    places = np.flatnonzero(results.prompts.labels)
    weights = results.weights[:, places]
    for draw, of in zip(found.draws[1], weights, strict=True):
        among = of @ [2, 1, 0]
        assert among == 0 or draw == pytest.approx(of @ [1, 1, 0] / among)
    clusters = results.prompts.clusters[places[[0, 0, 1]]]  # of the pictures stopped
    assert found.among[1] == pytest.approx(effective_clusters(clusters))
    assert 0 <= found.interval(1).low <= 2 / 3 <= found.interval(1).high <= 1
    assert np.isnan(found.interval(0).low)


def test_a_run_searches_once_and_prints_the_share(overrides, capsys, monkeypatch):
    command = ["mitigate", "experiment=mitigation_testbed", *overrides]
    command += ["mitigation=[none,guard]", "measure=[pixel_l2,retrigger_pixel_l2]"]
    command += ["strengths.guard.repulsion=[1]", *(f"{ASKED}.{word}" for word in SETTINGS)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    (trial,) = (Trial(one, "mitigation_testbed") for one in _cases(command[1:]))
    measure = next(one for one in trial.measures if one.searches)
    frame = trial.measured(measure).read()
    assert len(frame) == 2 * 3 * 2  # settings, memorized prompts with a picture, seeds
    assert frame["offset"].between(0, 0.1 + 1e-6).all() and (frame["offset"] > 0).all()
    # The bound is beyond all distances, so all are copies before, and none can return.
    assert (frame["retriggered"] == 1).all() and (frame["stopped"] == 0).all()
    more = (trial.folder.parent / "more.md").read_text()
    for word in ("re-triggered", "returned"):
        assert f"{word} (pixel L2 ≤ 1), memorized" in more

    def forbidden(*_, **__):
        raise AssertionError("a finished run loads no model")

    monkeypatch.setattr(DiffusersUNet, "load", forbidden)
    assert main(command) == 0
    assert capsys.readouterr().out == printed
    # Another radius is another store.
    (other,) = (
        Trial(one, "mitigation_testbed") for one in _cases([*command[1:], f"{ASKED}.radius=0.2"])
    )
    again = next(one for one in other.measures if one.searches)
    assert other.identity == trial.identity and not len(other.measured(again).read())


def test_a_plan_counts_the_search(overrides, capsys):
    command = ["mitigate", "experiment=mitigation_testbed", *overrides, "mitigation=[none,guard]"]
    command += ["strengths.guard.repulsion=[1]", "dry_run=true"]
    command += ["measure=[pixel_l2,retrigger_pixel_l2]", f"{ASKED}.steps=7", f"{ASKED}.batch=3"]
    assert main(command) == 0
    cells = [cell.strip() for cell in capsys.readouterr().out.split("|")]
    # Four memorized and two other prompts, two pictures, two settings, two steps; a score is 20.
    sampled = 6 * 2 * 2 * (2 * 2 + 20) + 4 * 2 * 2 * 2 * 2
    searched = 4 * 2 * 7 * 3
    third = (6 + 4) * 2 * 2  # guard's, with each picture and once more with the search's
    assert {f"{sampled:,}", f"{searched + third:,}", f"{searched:,}"} <= set(cells)


ASKED = "measure.retrigger_pixel_l2"
SETTINGS = ["judge.shift=0", "judge.bound=1", "steps=2", "batch=2", "radius=0.1"]


def _cases(words):
    from anisomem.config.compose import cases

    return cases(words)


def test_a_model_without_embeddings_is_refused():
    mixture = AnalyticMixture(torch.ones(1, 4, 2, 2), [1.0], ["a"])
    with pytest.raises(UserError, match="has no embeddings of tokens; again searches embeddings"):
        asked().require(mixture)
    with (
        pytest.raises(UserError, match="there is nothing to add to"),
        mixture.offset(torch.ones(1)),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "again.steps must be an integer from 1, got 0"),
        ({"radius": 0}, "again.radius must be a number above 0, got 0"),
        ({"lr": float("nan")}, "again.lr must be a number above 0, got nan"),
        ({"judge": Moved("moved")}, "again.judge must say of a picture whether it is a copy"),
    ],
)
def test_mistakes_are_one_line(settings, said):
    with pytest.raises(UserError, match=said):
        Retrigger("again", **{"judge": PixelL2("pixel_l2"), **settings})
