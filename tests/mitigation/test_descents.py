"""Descents over the prompt: their gradients, what they keep, and what ends them."""

import logging

import pytest
import torch
from anisomem.baselines.wen import WenNorm

from anisomem.config import catalog
from anisomem.detection.anisotropy import Anisotropy
from anisomem.engine.batches import Batches
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.mitigation.anisotropy import AnisotropyDescent, Metric
from anisomem.mitigation.base import moved
from anisomem.mitigation.descent import Descent
from anisomem.mitigation.guidance import embedded, precise
from anisomem.mitigation.sail import Loss, Sail
from anisomem.mitigation.wen import WenDescent
from anisomem.models import families
from anisomem.models.analytic import AnalyticMixture

SEEDS = [0, 0]


def embeddings(found):
    return found.conditioning.tensors["embeddings"]


def derivative(function, at, direction, step=1e-5):
    """Central difference along a direction."""
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("convention", ["released", "paper"])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.3, 2.1)])
def test_gradient_of_the_metric_is_its_finite_difference(
    build, prompts, prediction, convention, weights
):
    model = build(prediction_type=prediction, dtype=torch.float64)
    x = model.initial_noise(3, 2)
    detector = Anisotropy("a", 2, convention=convention, weights=weights)
    metric, given = Metric(detector, model, x, [3, 4]), model.encode(prompts)
    rows = torch.arange(2)

    def value(tensor):
        return metric(embedded(model, given, tensor), rows).sum()

    at = precise(given).requires_grad_()
    (gradient,) = torch.autograd.grad(value(at), at)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        v = torch.randn(at.shape, generator=generator, dtype=at.dtype)
        with torch.no_grad():
            expected = derivative(value, at.detach(), v)
        torch.testing.assert_close((gradient * v).sum(), expected, rtol=1e-6, atol=1e-8)


def test_the_metric_is_the_detectors_score(model, prompts):
    detector = Anisotropy("a", 3)
    x = model.initial_noise(5, 1).double().repeat(2, 1, 1, 1)
    metric = Metric(detector, model, x, [5, 5])
    with torch.no_grad():
        found = metric(model.encode(prompts), torch.arange(2))
    components = Engine(model, [detector]).evaluate(prompts, range(2), 5)
    expected = components[detector.norm_name] + 2 * components[detector.cos_name]
    torch.testing.assert_close(found, torch.from_numpy(expected.mean(1)))


@pytest.mark.parametrize(
    "method",
    [AnisotropyDescent("a", lr=0.02, steps=15), WenDescent("w", lr=0.02, steps=15)],
    ids=["anisotropy", "wen"],
)
def test_descent_lowers_the_metric_on_other_noise_too(model, prompts, noise, method):
    found = method(model, prompts, noise, SEEDS)
    assert all(effort.after < effort.before for effort in found.efforts)
    detector = Anisotropy("a") if method.name == "a" else WenNorm("w")
    held_out = model.initial_noise(99, 8).double()
    t = model.timesteps()[0]
    for i in range(2):
        rows = [i] * 8
        with torch.no_grad():
            if method.name == "a":
                metric = Metric(detector, model, held_out, [99] * 8)
                before, after = (
                    metric(c[rows], torch.arange(8)).mean()
                    for c in (model.encode(prompts), found.conditioning)
                )
            else:
                u = model.predict(held_out, t, model.encode([""] * 8)).output
                before, after = (
                    (model.predict(held_out, t, c[rows]).output - u).flatten(1).norm(dim=1).mean()
                    for c in (model.encode(prompts), found.conditioning)
                )
        assert after < before


def test_rows_are_independent_and_count_what_they_evaluate(model, prompts, noise):
    method = AnisotropyDescent("a", n=2, steps=3)
    together = method(model, prompts, noise, SEEDS)
    for i in range(2):
        begin = model.nfe
        alone = method(model, prompts[i : i + 1], noise[:1], [0])
        assert model.nfe - begin == alone.efforts[0].nfe == 4 * 5  # u, three steps, the last look
        assert alone.efforts[0].backward == 4 * 3
        torch.testing.assert_close(embeddings(alone)[0], embeddings(together)[i])


def test_which_tokens_move(model, prompts, noise):
    given = model.encode(prompts)
    end = given.tensors["end"].tolist()
    assert end == [4, 2]
    length = given.tensors["embeddings"].shape[1]
    expected = {
        "after_start": [set(range(1, length))] * 2,
        "all": [set(range(length))] * 2,
        "prompt": [set(range(1, e)) for e in end],
        "tail": [set(range(e, length)) for e in end],
    }
    for tokens, chosen in expected.items():
        found = AnisotropyDescent("a", steps=2, tokens=tokens)(model, prompts, noise, SEEDS)
        changed = (embeddings(found) != given.tensors["embeddings"]).any(-1)
        assert [set(torch.nonzero(row)[:, 0].tolist()) for row in changed] == chosen


def test_wen_by_hand(model, prompts):
    """Released: the norm over all noise jointly, AdamW's decay on the start token."""
    x = model.initial_noise(0, 3).double()
    found = WenDescent("w", n=3, steps=2)(model, prompts[:1], x[:1], [0])
    t, given = model.timesteps()[0], model.encode(prompts[:1])
    with torch.no_grad():
        u = model.predict(x, t, model.encode([""] * 3)).output
    c = given.tensors["embeddings"].clone().requires_grad_()
    optimiser = torch.optim.AdamW([c], lr=0.05)
    losses = []
    for _ in range(2):
        prediction = model.predict(x, t, embedded(model, given, c)[[0] * 3])
        loss = torch.linalg.vector_norm(prediction.output - u)
        losses.append(loss.item())
        (c.grad,) = torch.autograd.grad(loss, c)
        c.grad[:, 0] = 0
        optimiser.step()
    torch.testing.assert_close(embeddings(found), c.detach())
    assert found.efforts[0].before == pytest.approx(losses[0])
    start = given.tensors["embeddings"][:, 0] * (1 - 0.05 * 0.01) ** 2
    torch.testing.assert_close(embeddings(found)[:, 0], start)


def test_a_row_stops_at_its_target_and_keeps_what_reached_it(model, prompts, noise):
    free = WenDescent("w", steps=5)(model, prompts, noise, SEEDS)
    lowest = [effort.after for effort in free.efforts]
    target = max(lowest) + 0.3 * (free.efforts[lowest.index(max(lowest))].before - max(lowest))
    found = WenDescent("w", steps=5, target=target)(model, prompts, noise, SEEDS)
    for effort in found.efforts:
        assert effort.after <= target and effort.note == f"reached {target:g}"
        assert effort.iterations < 5


def test_an_ordinary_prompt_stays_where_it_is(model, prompts, noise):
    """A prompt whose metric is below the threshold is looked at once."""
    high = AnisotropyDescent("a", steps=1)(model, prompts, noise, SEEDS).efforts
    threshold = max(effort.before for effort in high)
    found = AnisotropyDescent("a", steps=9, threshold=threshold)(model, prompts, noise, SEEDS)
    before = model.encode(prompts).tensors["embeddings"]
    assert moved(before, embeddings(found)) == [0, 0]
    assert [(e.iterations, e.backward, e.nfe) for e in found.efforts] == [(0, 0, 4)] * 2


def test_divergence_keeps_the_last_finite_embedding(caplog):
    """Of a row that reaches NaN, and nothing of its neighbour."""
    start = torch.tensor([[1.0], [1.0]])

    def objective(tensor, rows):
        value = tensor[:, 0].square()
        return torch.where((rows == 1) & (tensor[:, 0] < 0.75), torch.nan, value)

    descent = Descent("sgd", 0.1, 5, None)
    with caplog.at_level(logging.WARNING):
        kept, efforts = descent(start, objective, 1)
    torch.testing.assert_close(kept, torch.tensor([[0.8**5], [0.8]]))
    assert efforts[0].note == "" and efforts[0].iterations == 5
    assert efforts[1].note == "diverged at step 2, kept the last finite one"
    assert efforts[1].after == pytest.approx(0.64)
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "lower the learning rate, now 0.1" in caplog.text


def test_an_infinite_gradient_is_divergence_too():
    start = torch.tensor([[4.0], [0.0]])  # of the root: infinite at 0
    kept, efforts = Descent("sgd", 1.0, 1, None)(start, lambda c, rows: c[:, 0].sqrt(), 1)
    torch.testing.assert_close(kept, torch.tensor([[3.75], [0.0]]))
    assert efforts[1].note.startswith("diverged at step 0")


def test_a_model_that_diverges_is_survived(model, prompts, noise):
    found = AnisotropyDescent("a", optimiser="sgd", lr=1e300, steps=4)(
        model, prompts, noise, SEEDS
    )
    assert all(effort.note.startswith("diverged at step") for effort in found.efforts)
    assert embeddings(found).isfinite().all()
    assert found.sample(model, 3).isfinite().all()


def test_out_of_memory_halves_the_batch(model, prompts, noise, caplog, monkeypatch):
    expected = WenDescent("w", steps=2)(model, prompts, noise, SEEDS)
    network = type(model)._network

    def small(self, x, t, conditioning):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(self, x, t, conditioning)

    monkeypatch.setattr(type(model), "_network", small)
    found = WenDescent("w", steps=2)(model, prompts, noise, SEEDS, Batches(model, size=2))
    assert [r.getMessage() for r in caplog.records] == ["out of memory: batch size is now 1"]
    torch.testing.assert_close(embeddings(found), embeddings(expected))
    assert [e.nfe for e in found.efforts] == [e.nfe for e in expected.efforts]
    with pytest.raises(UserError, match="out of memory at batch size 1"):
        AnisotropyDescent("a")(model, prompts, noise, SEEDS)


def analytic():
    means = torch.stack([torch.full((1, 2, 2), m) for m in (-1.0, 1.0)]).double()
    return AnalyticMixture(means, [0.1, 0.5], ["a", "b"])


@pytest.mark.parametrize("method", [AnisotropyDescent("a"), WenDescent("w")])
def test_models_without_embeddings_or_gradients_are_refused(method, build, prompts, noise):
    model = analytic()
    with pytest.raises(UserError, match=r"\(AnalyticMixture\) has no embeddings of tokens"):
        method(model, ["a"], model.initial_noise(0, 1), [0])
    offloaded = build()
    offloaded.offloaded = True
    for refused in (method, Sail("sail")):
        with pytest.raises(UserError, match=r"set model\.offload=null"):
            refused(offloaded, prompts, noise, SEEDS)
    if method.name == "a":
        said = r"no weights are published for this model; give 'mitigation\.a\.weights="
        with pytest.raises(UserError, match=said):
            method(build(stands_for=None), prompts, noise, SEEDS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AnisotropyDescent("a", convention="paper", weights=(1, 0)),
        lambda: Sail("s"),
        lambda: Sail("s", convention="paper"),
    ],
)
def test_noise_that_is_the_latent_itself_is_not_descended(make):
    flow = families.load(catalog.testbed("flow"), device="cpu")
    with pytest.raises(UserError, match="at step:0 the latent is the noise"):
        make()(flow, ["a fox"], flow.initial_noise(0, 1), [0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnisotropyDescent("a", lr=0), "lr must be a number above 0, got 0"),
        (lambda: AnisotropyDescent("a", lr=float("nan")), "lr must be a number above 0, got nan"),
        (lambda: AnisotropyDescent("a", weights="equal"), "come from labelled prompts"),
        (lambda: AnisotropyDescent("a", weights="fitted"), "come from labelled prompts"),
        (lambda: AnisotropyDescent("a", steps=0), "steps must be an integer from 1, got 0"),
        (lambda: AnisotropyDescent("a", n=1.5), "n must be an integer from 1, got 1.5"),
        (lambda: AnisotropyDescent("a", optimiser="adma"), "did you mean 'adam'"),
        (lambda: AnisotropyDescent("a", tokens="after"), "did you mean 'after_start'"),
        (lambda: AnisotropyDescent("a", threshold="x"), "threshold must be a number"),
        (lambda: Sail("s", convention="papr"), "did you mean 'paper'"),
        (lambda: Sail("s", budget=0), "budget must be an integer from 1, got 0"),
        (lambda: Sail("s", alpha=-1), "alpha must be a number from 0, got -1"),
    ],
)
def test_options_out_of_range_are_one_line(make, message):
    with pytest.raises(UserError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def sail_by_hand(model, x, c, u, begun):
    """The released loss, as its code has it: norm at the perturbed point, one direction."""
    t = model.timesteps()[0]
    alpha, sigma = (scale.item() for scale in model.scales(torch.tensor([t])))
    velocity = model.parameterisation == "v_prediction"

    def delta(at):
        difference = model.predict(at, t, c).raw - model.predict(at, t, u).raw
        return -alpha / sigma * difference if velocity else difference

    d = delta(begun)
    d = d / d.flatten(1).norm(dim=1)[:, None, None, None]
    weight = 0.01 if velocity else 0.05
    return delta(x + d).flatten(1).norm(dim=1) + weight * x.flatten(1).norm(dim=1)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_sail_as_released(build, prediction):
    model = build(prediction_type=prediction, dtype=torch.float64)
    begun = model.initial_noise(0, 2).double()
    c, u = model.encode(["a red cat"]), model.encode([""])
    loss = Loss(Sail("s"), model, c, begun)
    rows = torch.arange(2)
    moved_on = begun + 0.1
    for x in (begun, moved_on):  # the direction stays that of the beginning
        with torch.no_grad():
            expected = sail_by_hand(model, x, c[[0, 0]], u[[0, 0]], begun)
            torch.testing.assert_close(loss(x, rows), expected)
    # The gradient takes the derivative of the direction too, at the beginning.
    at = moved_on.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(at, rows).sum(), at)
    v = torch.randn(at.shape, generator=torch.Generator().manual_seed(1), dtype=at.dtype)

    def along(step):
        with torch.no_grad():
            return sail_by_hand(
                model, moved_on + step * v, c[[0, 0]], u[[0, 0]], begun + step * v
            ).sum()

    expected = (along(1e-5) - along(-1e-5)) / 2e-5
    torch.testing.assert_close((gradient * v).sum(), expected, rtol=1e-6, atol=1e-8)


def test_sail_of_the_paper_is_a_finite_difference_along_the_guidance(model):
    """For small delta: ``J d`` squared, with J the derivative of the score difference."""
    x = model.initial_noise(0, 1).double()
    c, u = model.encode(["a red cat"]), model.encode([""])
    delta, t = 1e-4, model.timesteps()[0]
    loss = Loss(Sail("s", convention="paper", alpha=0.0, delta=delta), model, c, x)
    with torch.no_grad():
        found = loss(x, torch.arange(1)).sqrt() / delta
        _, sigma = model.scales(torch.tensor([t]))
        difference = model.predict(x, t, c).raw - model.predict(x, t, u).raw
        tangent = -difference / difference.norm()
    derivatives = [model.jvp(x, t, prompt, tangent)[1] for prompt in (c, u)]
    expected = ((derivatives[0] - derivatives[1]) / sigma.item()).flatten(1).norm(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_sail_takes_the_given_noise_where_it_is_below_the_threshold(model, prompts):
    x = model.initial_noise(0, 1).double()
    begin = model.nfe
    found = Sail("s", budget=4, threshold=1e6)(model, prompts[:1], x, [0])
    assert found.efforts[0].iterations == 0 and found.efforts[0].note == "reached 1e+06"
    assert model.nfe - begin == found.efforts[0].nfe == 4 * 4
    assert any(torch.equal(found.x[0], start) for start in model.initial_noise(0, 4).double())
    other = torch.ones_like(x)  # which no seed draws
    found = Sail("s", budget=1, threshold=1e6)(model, prompts[:1], other, [0])
    assert torch.equal(found.x, other)


def test_sail_draws_anew_and_raises_the_threshold(model, prompts):
    x = model.initial_noise(0, 1).double()
    method = Sail("s", budget=2, steps=1, threshold=1e-6, rounds=3)
    begin = model.nfe
    found = method(model, prompts[:1], x, [0])
    (effort,) = found.efforts
    assert effort.note == "none reached 0.200001, took the lowest"
    assert effort.iterations == 3 and model.nfe - begin == effort.nfe == 3 * 2 * 4 * 2
    assert effort.backward == 3 * 2 * 4
    again = method(model, prompts[:1], x, [0])
    assert torch.equal(again.x, found.x)  # by the seed alone


def test_sail_lowers_sharpness(model, prompts, noise):
    free = Sail("s", budget=1, threshold=1e-6, rounds=1)(model, prompts, noise, SEEDS)
    assert all(effort.after < effort.before for effort in free.efforts)
    assert all(0 < distance < 1 for distance in moved(noise, free.x))
