"""What every family must do, checked against diffusers' own pipeline of that family.

A new family joins by a line in conftest.py.
"""

import re
from functools import cache

import numpy as np
import pytest
import torch
from anisomem.baselines.jeon import JeonSharpness
from anisomem.baselines.wen import WenNorm
from diffusers import DDIMScheduler

from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.mitigation.anisotropy import AnisotropyDescent
from anisomem.mitigation.none import NoMitigation
from anisomem.mitigation.ren import RenAttention
from anisomem.models.attention import Edit
from anisomem.models.capability import Capability
from anisomem.models.families import load
from anisomem.models.prediction import Parameterisation

PROMPTS = ["a cat", "a red dog"]
STEPS, GUIDANCE, SEED = 50, 7.5, 5


def relative(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def entered(context):
    with context:
        return True


def sampler(pipeline):
    """The scheduler that the detectors' steps are of."""
    if "shift" in pipeline.scheduler.config:
        return pipeline.scheduler
    return DDIMScheduler.from_config(pipeline.scheduler.config)


@cache
def run(pipeline, num_steps=STEPS):
    """What the pipeline hands to its scheduler at every step, and the latents at the end."""
    handed, own = [], pipeline.scheduler
    pipeline.scheduler = scheduler = sampler(pipeline)
    step = scheduler.step

    def record(output, t, x, *arguments, **options):
        handed.append((output, t, x))
        return step(output, t, x, *arguments, **options)

    scheduler.step = record
    try:
        latents = pipeline(
            PROMPTS,
            generator=torch.Generator().manual_seed(SEED),
            num_inference_steps=num_steps,
            guidance_scale=GUIDANCE,
            output_type="latent",
        ).images
    finally:
        scheduler.step = step
        pipeline.scheduler = own
    return handed, latents


def test_prompts_and_timesteps_matter(family):
    # What every other test here relies on: u, c and the timesteps differ by much.
    model = family.model(family.build())
    x = model.initial_noise(0, 1).repeat(2, 1, 1, 1)
    early, late = (model.timesteps()[i] for i in (0, -3))
    c = [model.predict(x, t, model.encode(PROMPTS)).raw for t in (early, late)]
    u = model.predict(x, early, model.encode(["", ""])).raw
    for i in range(2):
        assert relative(c[0][i], u[i]) > 0.02
        assert relative(c[0][i], c[1][i]) > 0.02
    assert relative(c[0][0], c[0][1]) > 0.02


def test_guided_prediction_is_what_the_pipeline_hands_to_its_scheduler(family):
    pipeline = family.build()
    model = family.model(pipeline)
    handed, _ = run(pipeline)
    noise = model.initial_noise(SEED, 2)
    assert torch.equal(handed[0][2], noise)  # same seed, same latents
    assert [float(t) for _, t, _ in handed] == model.timesteps(STEPS)
    both = model.encode(["", "", *PROMPTS])
    for output, t, x in handed:
        u, c = model.predict(torch.cat([x, x]), t, both).raw.chunk(2)
        assert relative(u + GUIDANCE * (c - u), output) < 1e-5
    assert model.nfe == 4 * STEPS


def test_every_step_is_the_samplers(family):
    pipeline = family.build()
    model = family.model(pipeline)
    handed, end = run(pipeline)
    after = [*(x for _, _, x in handed[1:]), end]
    targets = model.schedule.targets(STEPS)
    for (output, t, x), target, expected in zip(handed, targets, after, strict=True):
        guided = model._prediction(output, x, torch.as_tensor(t).expand(2))
        alpha, sigma = (guided.coefficient(scale) for scale in target)
        actual = alpha * model.schedule.bounded(guided.x0) + sigma * guided.epsilon
        assert relative(actual, expected) < 1e-5


@pytest.mark.parametrize("num_steps", [STEPS, 7])
def test_sampling_ends_at_the_pipelines_latents(family, num_steps):
    pipeline = family.build()
    model = family.model(pipeline)
    _, expected = run(pipeline, num_steps)
    x = model.initial_noise(SEED, 2)
    actual = model.sample(x, model.encode(PROMPTS), num_steps, GUIDANCE)
    # Where the data are clipped and the noise is not, rounding grows from step to step.
    clips = model.schedule.settings.get("clip_sample")
    for i in range(2):
        assert relative(actual[i], expected[i]) < (1e-3 if clips else 1e-5)
        assert relative(x[i], expected[i]) > 0.1


def test_decoded_pictures_are_the_pipelines(family):
    pipeline = family.build()
    model = family.model(pipeline)
    x = model.initial_noise(7, 2)
    common = {"prompt": PROMPTS, "latents": x, "num_inference_steps": 2}
    latents = pipeline(output_type="latent", **common).images
    pictures = pipeline(output_type="pil", **common).images
    actual = model.decode(latents)
    assert actual.dtype == np.uint8
    assert actual.shape == (2, *(2 * side for side in model.latent_shape[1:]), 3)
    np.testing.assert_array_equal(actual, np.stack([np.asarray(p) for p in pictures]))
    assert actual.std() > 5


def test_scales_are_the_schedulers_at_every_timestep(family):
    pipeline = family.build()
    model, scheduler = family.model(pipeline), sampler(pipeline)
    x0, noise = (model.initial_noise(seed, 1).double() for seed in (1, 2))
    if "shift" in scheduler.config:
        scheduler = type(scheduler).from_config(scheduler.config)
        steps, noised = scheduler.timesteps, scheduler.scale_noise
    else:
        steps = torch.arange(scheduler.config.num_train_timesteps)
        noised = None
    alpha, sigma = model.scales(steps)
    assert alpha.dtype == sigma.dtype == torch.float64
    assert len(alpha) == 1000
    for i, t in enumerate(steps):
        if noised is None:
            expected = scheduler.add_noise(x0, noise, t[None])
        else:
            expected = noised(x0, t[None], noise)
        torch.testing.assert_close(alpha[i] * x0 + sigma[i] * noise, expected, rtol=0, atol=1e-5)


def test_each_row_has_its_own_timestep_and_prompt(family):
    model = family.model(family.build(torch.float64))
    x = model.initial_noise(0, 3).double()
    steps = model.timesteps()
    chosen, prompts = [steps[0], steps[-3], steps[20]], [*PROMPTS, ""]
    together = model.predict(x, torch.tensor(chosen), model.encode(prompts)).raw
    for i, t in enumerate(chosen):
        alone = model.predict(x[[i]], t, model.encode([prompts[i]])).raw
        torch.testing.assert_close(together[[i]], alone, rtol=1e-6, atol=1e-6)
    assert model.nfe == 6


def test_jvp_against_a_central_difference(family):
    model = family.model(family.build(torch.float64))
    x = model.initial_noise(3, 2).double()
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(4)).double()
    t, conditioning = model.timesteps()[10], model.encode(["a red dog", ""])
    prediction, derivative = model.jvp(x, t, conditioning, tangent)
    assert (model.jvps, model.nfe) == (2, 0)

    def network(latents):
        return model.predict(latents, t, conditioning).raw

    def difference(h):
        return (network(x + h * tangent) - network(x - h * tangent)) / (2 * h)

    # Of fourth order, since some layers compute in float32 whatever they are given.
    expected = (4 * difference(0.01) - difference(0.02)) / 3
    assert relative(derivative, expected) < 1e-5
    torch.testing.assert_close(prediction.raw, network(x), rtol=1e-6, atol=1e-6)
    # The two conditionings bend the network differently, so their difference is a real test.
    assert relative(derivative[0], derivative[1]) > 0.02


def test_jvp_by_dual_numbers_is_what_torch_says(family, monkeypatch):
    model = family.model(family.build())
    x, t = model.initial_noise(3, 2), model.timesteps()[10]
    tangent, conditioning = model.initial_noise(4, 2), model.encode(["a red dog", ""])
    by_rules = model.jvp(x, t, conditioning, tangent)[1]

    def in_place(*_):
        raise NotImplementedError

    monkeypatch.setattr("anisomem.models.dual.jvp", in_place)
    by_torch = model.jvp(x, t, conditioning, tangent)[1]
    assert relative(by_rules, by_torch) < 1e-5
    assert not torch.equal(by_rules, by_torch)  # another way, not the same one


def test_noise_is_what_a_seeded_script_draws(family):
    model = family.model(family.build())
    state = torch.get_rng_state()
    for n in (1, 4):
        actual = model.initial_noise(42, n)
        torch.manual_seed(42)
        assert torch.equal(actual, torch.randn(n, *model.latent_shape))
        assert torch.equal(actual[:1], model.initial_noise(42, 1))
    torch.set_rng_state(state)
    model.initial_noise(1, 4)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone


def test_schedule_runs_from_noise_to_data(family):
    model = family.model(family.build())
    for num_steps in (50, 10):
        steps = model.timesteps(num_steps)
        assert len(steps) == num_steps
        assert steps == sorted(steps, reverse=True)
        for t in steps:
            model.schedule.require(t)
    _, sigma = model.scales(torch.tensor(model.timesteps()))
    assert sigma[0] > 0.99
    assert sigma[-1] < 0.1
    assert model.schedule.final_scales[1] < 0.05


def test_truncated_counts_prompts_that_encoding_cuts(family):
    model = family.model(family.build())
    # Words of the vocabulary are one token, others one per letter: 1 + 1 + 4 + 1 + 2 + 1.
    fits = "a very red bd"
    assert len(model.pipeline.tokenizer(fits).input_ids) == 10
    assert model.truncated(["", "a cat", fits]) == 0
    assert model.truncated([fits + " a", "a cat", fits + " and more", fits + " a"]) == 3


def test_saved_and_loaded_again_it_is_the_same(family, tmp_path):
    pipeline = family.build()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    saved = family.model(pipeline)
    model = load(str(tmp_path), device="cpu", stands_for="sd20")
    assert type(model) is family.model  # found by its model_index.json
    assert (model.repository, model.revision, model.stands_for) == (None, None, "sd20")
    assert (model.latent_shape, model.parameterisation) == (
        saved.latent_shape,
        saved.parameterisation,
    )
    x, t = model.initial_noise(0, 3), model.timesteps()[-3]
    expected = saved.predict(x, t, saved.encode([*PROMPTS, ""])).raw
    torch.testing.assert_close(
        model.predict(x, t, model.encode([*PROMPTS, ""])).raw, expected, rtol=1e-5, atol=1e-5
    )

    half = family.model.load(str(tmp_path), dtype="bfloat16", device="cpu")
    prediction = half.predict(x, t, half.encode([*PROMPTS, ""]))
    assert half.dtype == prediction.raw.dtype == torch.bfloat16
    assert prediction.epsilon.dtype == prediction.x0.dtype == prediction.score.dtype
    assert prediction.score.dtype == torch.float32
    assert relative(prediction.raw.float(), expected) < 0.05


def test_detectors_run_on_it(family):
    model = family.model(family.build())
    engine = Engine(model, [WenNorm("w"), JeonSharpness("j", steps=2)])
    components = engine.evaluate(PROMPTS, range(2), 0)
    assert all(np.isfinite(values).all() for values in components.values())
    assert (components["wen/norm[step:0]"] > 0).all()


@torch.no_grad()
def test_what_is_declared_is_there_and_what_is_not_is_refused(family):
    model = family.model(family.build())
    x, t, given = model.initial_noise(0, 2), model.timesteps()[0], model.encode(PROMPTS)
    embeddings, end = given.embeddings, given.end
    tokens = 3 if embeddings is None else embeddings.shape[1]
    keep = torch.ones(2, tokens, dtype=torch.bool)
    edit, pictures = Edit(keep, torch.ones(2), keep), model.decode(x)
    shown = {
        Capability.ATTENTION: lambda: model.attend(x, t, given)[1].tokens.shape[-1] == tokens,
        Capability.EDITING: lambda: entered(model.edited(edit)),
        Capability.ENCODER: lambda: (
            pictures.shape[1:3] == model.picture_size
            and model.latents_of(pictures).shape == (2, *model.latent_shape)
        ),
        Capability.REPRESENTATION: lambda: model.represent(x, t, given)[1].shape[0] == 2,
        Capability.VOCABULARY: lambda: (
            model.random_token(np.random.default_rng(0)) != "" and entered(model.padded_with("a"))
        ),
    }
    for capability, there in shown.items():
        if capability in model.capabilities:
            assert there()
        else:
            with pytest.raises(UserError, match=re.escape(capability.value)):
                there()
    assert (Capability.EMBEDDINGS in model.capabilities) == (embeddings is not None)
    assert (Capability.END in model.capabilities) == (end is not None)
    assert {Capability.PICTURES, Capability.DERIVATIVES} <= model.capabilities


def test_parameterisation_is_the_schedulers(families):
    expected = {
        "sd_v1": Parameterisation.EPSILON,
        "sd_v2": Parameterisation.VELOCITY,
        "sd_sample": Parameterisation.SAMPLE,
        "sdxl": Parameterisation.EPSILON,
        "sd3": Parameterisation.FLOW,
    }
    for name, parameterisation in expected.items():
        family = families[name]
        assert family.model(family.build()).parameterisation is parameterisation


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_prompt_can_be_moved(family, dtype):
    """A descent on the embeddings lowers the metric, in the model's precision."""
    model = family.model(family.build(dtype))
    x = model.initial_noise(0, 1).repeat(2, 1, 1, 1)
    method = AnisotropyDescent("a", weights=(1.0, 2.0), lr=0.02, steps=8)
    found = method(model, PROMPTS, x, [0, 0])
    embeddings = found.conditioning.tensors["embeddings"]
    assert embeddings.dtype == dtype
    start = model.encode(PROMPTS).tensors["embeddings"]
    assert torch.equal(embeddings[:, 0], start[:, 0])
    assert all(effort.after < effort.before for effort in found.efforts)
    assert found.sample(model, 2).isfinite().all()


def test_attention_is_changed_or_refused(family):
    model = family.model(family.build())
    x = model.initial_noise(0, 1).repeat(2, 1, 1, 1)
    if Capability.EDITING not in model.capabilities:
        with pytest.raises(UserError, match="where a prompt's text ends; ren"):
            RenAttention("ren")(model, PROMPTS, x, [0, 0])
        return
    found = RenAttention("ren")(model, PROMPTS, x, [0, 0])
    plain = NoMitigation("none")(model, PROMPTS, x, [0, 0])
    assert relative(found.sample(model, 2), plain.sample(model, 2)) > 1e-3
