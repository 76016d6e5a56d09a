"""Rows steered by more than a scale: loops of their own, and what must agree in the limits."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from anisomem.errors import UserError
from anisomem.mitigation.base import Mitigated, Ordinary
from anisomem.mitigation.guard import Guard
from anisomem.mitigation.none import NoMitigation
from anisomem.mitigation.reanchor import Reanchored, Reanchoring
from anisomem.mitigation.stability import StabilityClamp
from anisomem.mitigation.wen import WenDescent
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.conditioning import Conditioning

SEEDS = [3, 4]
STEPS = 3


@pytest.fixture
def noises(model):
    return torch.cat([model.initial_noise(seed, 1) for seed in SEEDS])


@torch.no_grad()
def ddim(model, x, combined, corrected=None):
    """DDIM with an output of its own for each step, from its number, timestep and latents."""
    steps = model.timesteps(STEPS)
    for i, (t, end) in enumerate(zip(steps, model.schedule.targets(STEPS), strict=True)):
        output = combined(i, t, x)
        alpha, sigma = (float(scale) for scale in model.scales(torch.tensor([t])))
        to_alpha, to_sigma = (float(scale) for scale in end)
        after = to_alpha * (x - sigma * output) / alpha + to_sigma * output
        x = after if corrected is None else corrected(i, x, after)
    return x


def output(model, prompt, x, t, found=None):
    given = model.encode([prompt]) if isinstance(prompt, str) else prompt
    if found is None:
        return model.predict(x, t, given).output
    with found.hooks(model):
        return model.predict(x, t, given).output


def attenuated_by_hand(model, x, t, given, end, threshold, factor, share):
    """The prediction with spikes found head by head in diffusers' own words."""
    unet, processors = model.pipeline.unet, dict(model.pipeline.unet.attn_processors)
    unet.set_attn_processor(AttnProcessor())
    layers = {name: m for name, m in unet.named_modules() if name.endswith("attn2")}
    early = {n: m for n, m in layers.items() if n.startswith(("down_blocks", "mid_block"))}
    assert early and len(early) < len(layers)
    for layer in early.values():

        def scores(query, key, mask=None, layer=layer):
            logits = layer.scale * query @ key.mT  # [heads, positions, tokens]
            looks = []
            for head in logits:
                p = head.softmax(-1)
                entropy = -(p * p.log()).sum(-1).mean()
                looks.append(float(p[:, end].mean() / entropy))
            chosen = sorted(range(layer.heads), key=lambda h: -looks[h])
            for h in chosen[: max(1, int(layer.heads * share))]:
                most = logits[h].max(0).values
                words = most[1:]
                for i in range(1, len(most)):
                    if (most[i] - words.mean()) / words.std() > threshold:
                        logits[h, :, i] = logits[h, :, i] * factor
            return logits.softmax(-1)

        layer.get_attention_scores = scores
    try:
        return model.predict(x, t, given).output
    finally:
        unet.set_attn_processor(processors)
        for layer in early.values():
            del layer.get_attention_scores


@torch.no_grad()
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_guard_attenuates_what_stands_out_in_early_layers(model, prompts, noises, share):
    found = Guard("g", threshold=0.5, factor=0.2, heads=share)(model, prompts, noises, SEEDS)
    given, t = model.encode(prompts), 501
    both = Conditioning.cat([model.encode(["", ""]), given, given])
    thrice = noises.double().repeat(3, 1, 1, 1)
    plain = model.predict(thrice, t, both).output
    with found.hooks(model):
        changed = model.predict(thrice, t, both).output
    for i in range(2):
        x, end = noises[[i]].double(), int(given.end[i])
        expected = attenuated_by_hand(model, x, t, given[[i]], end, 0.5, 0.2, share)
        torch.testing.assert_close(changed[[2 + i]], expected, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(changed[[2 + i]], plain[[2 + i]], rtol=1e-4)
    # Without prompt, and what is repelled from, nothing is changed.
    torch.testing.assert_close(changed[[0, 1, 4, 5]], plain[[0, 1, 4, 5]])


@pytest.mark.parametrize(("decay", "projected"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("factor", [0.0, 0.95])  # far from the prompt's own direction, and near
def test_guard_is_attracted_and_repelled(model, prompts, noises, decay, projected, factor):
    method = Guard("g", factor=factor, repulsion=1.5, decay=decay, projected=projected)
    found = method(model, prompts, noises, SEEDS)
    sampled = found.sample(model, STEPS, 4.0)
    alike = []
    for row in range(2):

        def combined(i, t, x, row=row):
            u, c, given = (
                output(model, "", x, t),
                output(model, prompts[row], x, t, found[[row]]),
                output(model, prompts[row], x, t),
            )
            a, b, r = c - u, given - u, 1.5
            if decay:
                r *= float(torch.cos(torch.tensor(i / STEPS * torch.pi / 2, dtype=float)))
            if projected:
                cosine = float((a * b).sum() / (a.norm() * b.norm()))
                alike.append(cosine > 0.9)
                if cosine > 0.9:
                    a = a - min(2.0, float((a * b).sum() / b.norm() ** 2)) * b
            return u + 4.0 * a - r * b

        x = noises[[row]].double()
        torch.testing.assert_close(sampled[[row]], ddim(model, x, combined), rtol=1e-4, atol=1e-5)
    if projected and factor == 0.95:
        assert any(alike)
    assert [effort.nfe for effort in found.spent(STEPS)] == [STEPS] * 2
    assert method.beside == 1 and Guard("g", repulsion=0).beside == 0


def test_guard_that_changes_nothing_is_the_model(model, prompts, noises):
    plain = NoMitigation("none")(model, prompts, noises, SEEDS).sample(model, STEPS, 4.0)
    still = Guard("g", factor=1, repulsion=0)(model, prompts, noises, SEEDS)
    torch.testing.assert_close(still.sample(model, STEPS, 4.0), plain)
    # Repulsion alone is guidance by less.
    less = NoMitigation("none")(model, prompts, noises, SEEDS).sample(model, STEPS, 3.0)
    repelled = Guard("g", factor=1, repulsion=1, decay=False)
    found = repelled(model, prompts, noises, SEEDS)
    torch.testing.assert_close(found.sample(model, STEPS, 4.0), less)


def test_reanchoring_begins_where_it_meets_guidance():
    """At the lower norm both are guidance by w; from the higher on the prompt is the anchor."""
    u, given = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    way = torch.ones(1, 4, 2, 2).double() / 4  # of length 1
    row, w = Reanchored(Conditioning(embeddings=torch.zeros(1, 1, 1)), 3.0, 5.0), 7.5
    for norm in (2.0, 3.0, 3.0 + 1e-9):
        c = u + norm * way
        torch.testing.assert_close(row.output(0, w, u, c, given), u + w * (c - u))
    for norm in (5.0, 50.0):
        c = u + norm * way
        torch.testing.assert_close(row.output(0, w, u, c, given), given + w * (c - given))
    c = u + 4.0 * way
    s = w * (4 - 17.5 / 6.5) / (5 - 17.5 / 6.5)  # k = (7.5 * 3 - 5) / 6.5
    expected = given + s * (c - given) + (w - s) * (c - u)
    torch.testing.assert_close(row.output(0, w, u, c, given), expected)


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_reanchoring_samples_three_predictions(model, prompts, noises, convention):
    method = Reanchoring("r", steps=2, low=0.01, high=0.02, convention=convention)
    found = method(model, prompts, noises, SEEDS)
    moved = WenDescent("w", steps=2)(model, prompts, noises, SEEDS)
    assert torch.equal(found.conditioning.embeddings, moved.conditioning.embeddings)
    for row in range(2):

        def combined(i, t, x, row=row):
            u, given = output(model, "", x, t), output(model, prompts[row], x, t)
            c = output(model, moved.conditioning[[row]], x, t)
            assert (c - u).norm() > 0.02  # where both conventions are one
            return given + 7.5 * (c - given)

        expected = ddim(model, noises[[row]].double(), combined)
        torch.testing.assert_close(
            found.sample(model, STEPS)[[row]], expected, rtol=1e-4, atol=1e-5
        )
    spent = [effort.nfe for effort in found.spent(STEPS)]
    assert spent == [effort.nfe + STEPS for effort in moved.efforts]


def test_prompts_below_the_target_are_sampled_as_always(model, prompts, noises):
    before = [e.before for e in WenDescent("w", steps=1)(model, prompts, noises, SEEDS).efforts]
    between = sum(before) / 2
    method = Reanchoring("r", steps=2, target=between, low=0.01, high=0.02)
    found = method(model, prompts, noises, SEEDS)
    assert [guide is None for guide in found.guides] == [b <= between for b in before]
    quiet = before.index(min(before))
    plain = NoMitigation("none")(model, prompts, noises, SEEDS)
    sampled = found.sample(model, STEPS)
    torch.testing.assert_close(sampled[[quiet]], plain[[quiet]].sample(model, STEPS))
    assert found.spent(STEPS)[quiet].nfe == found.efforts[quiet].nfe
    for row in range(2):  # and rows are the same alone
        torch.testing.assert_close(sampled[[row]], found[[row]].sample(model, STEPS))


@pytest.fixture
def mixture():
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    return AnalyticMixture(torch.cat([3 * m, -3 * m]), [0.1, 1.0], ["+", "-"])


def test_updates_and_latents_stay_where_those_of_ordinary_prompts_are(mixture):
    ordinary = Ordinary(["-"] * 5, list(range(5)), STEPS, 4.0)
    lengths = torch.zeros(2, 5, STEPS, dtype=float)
    for k, seed in enumerate(ordinary.seeds):

        def noted(i, before, after, k=k):
            lengths[:, k, i] = torch.stack([(after - before).norm(), after.norm()])
            return after

        ddim(mixture, mixture.initial_noise(seed, 1).double(), guided(mixture, "-"), noted)
    mean, spread = lengths.mean(1), lengths.std(1)

    def clamped(i, before, after):
        for which in range(2):
            low = max(0.0, float(mean[which, i] - 0.5 * spread[which, i]))
            high = float(mean[which, i] + 0.5 * spread[which, i])
            base = before if which == 0 else torch.zeros_like(before)
            norm = float((after - base).norm())
            after = base + (after - base) * min(max(norm, low), high) / norm
        return after

    x = mixture.initial_noise(9, 1).double()
    method = StabilityClamp("s", deviations=0.5, count=5).ready(mixture, ordinary)
    found = method(mixture, ["+"], x, [9])
    sampled = found.sample(mixture, STEPS, 4.0)
    expected = ddim(mixture, x, guided(mixture, "+"), clamped)
    torch.testing.assert_close(sampled, expected)
    plain = NoMitigation("n")(mixture, ["+"], x, [9])
    assert not torch.allclose(sampled, plain.sample(mixture, STEPS, 4.0))
    wide = StabilityClamp("s", deviations=1e9, count=5).ready(mixture, ordinary)
    torch.testing.assert_close(
        wide(mixture, ["+"], x, [9]).sample(mixture, STEPS, 4.0),
        plain.sample(mixture, STEPS, 4.0),
    )
    both = Mitigated.cat([plain, found])
    torch.testing.assert_close(both.sample(mixture, STEPS, 4.0)[[1]], sampled)
    with pytest.raises(ValueError, match="sampled in 3 steps with guidance 4, these rows in 5"):
        found.sample(mixture, 5, 4.0)


def guided(model, prompt):
    def combined(i, t, x):
        u, c = output(model, "", x, t), output(model, prompt, x, t)
        return u + 4.0 * (c - u)

    return combined


def test_too_few_ordinary_prompts_are_said(mixture):
    few = Ordinary(["-"] * 3, [0, 1, 2])
    with pytest.raises(UserError, match=r"references.count=5, or mitigation.s.count=3"):
        StabilityClamp("s", count=5).ready(mixture, few)
    with pytest.raises(UserError, match="s has no region yet"):
        StabilityClamp("s")(mixture, ["+"], mixture.initial_noise(0, 1), [0])


@pytest.mark.parametrize(
    ("made", "settings", "said"),
    [
        (Guard, {"factor": -1}, "factor must be a number from 0, got -1"),
        (Guard, {"heads": 2}, "heads must be a share of a layer's heads, up to 1, got 2"),
        (Guard, {"repulsion": "much"}, "repulsion must be a number from 0, got 'much'"),
        (Guard, {"decay": "cosine"}, "decay must be true or false, got 'cosine'"),
        (Reanchoring, {"convention": "papper"}, "did you mean 'paper'"),
        (Reanchoring, {"low": 3, "high": 3}, "high must be above low, 3, got 3"),
        (Reanchoring, {"steps": 0}, "steps must be an integer from 1, got 0"),
        (StabilityClamp, {"deviations": -1}, "deviations must be a number from 0, got -1"),
        (StabilityClamp, {"count": 1}, "count must be an integer from 2, got 1"),
    ],
)
def test_mistakes_are_one_line(made, settings, said):
    with pytest.raises(UserError, match=said):
        made("m", **settings)
