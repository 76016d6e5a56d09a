"""Trajectories step by step as diffusers' DDIM of the same folder takes them, whatever it says."""

import json

import diffusers
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionPipeline,
)

from anisomem.errors import UserError
from anisomem.models.families import load
from anisomem.models.schedule import DDIMSchedule, FlowSchedule
from anisomem.run.provenance import provenance

PROMPTS = ["a cat", "a red dog"]
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
USUAL = BETAS | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
SAID = {
    "says nothing": {},
    "betas alone": BETAS,
    "usual": USUAL,
    "clip_sample": USUAL | {"clip_sample": True},
    "clip_sample_range": BETAS | {"clip_sample_range": 2.5},
    "thresholding": USUAL | {"thresholding": True},
    "dynamic_thresholding_ratio": USUAL
    | {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 3.0},
    "no set_alpha_to_one": {k: v for k, v in USUAL.items() if k != "set_alpha_to_one"},
    "no steps_offset": {k: v for k, v in USUAL.items() if k != "steps_offset"},
    "steps_offset": USUAL | {"steps_offset": 19},
    "large steps_offset": USUAL | {"steps_offset": 20 - 1, "num_train_timesteps": 1010},
    "trailing": USUAL | {"timestep_spacing": "trailing"},
    "linspace": USUAL | {"timestep_spacing": "linspace"},
    "cosine": USUAL | {"beta_schedule": "squaredcos_cap_v2"},
    "linear": USUAL | {"beta_schedule": "linear"},
    "trained_betas": USUAL | {"trained_betas": torch.linspace(1e-3, 2e-2, 1000).tolist()},
    "left to defaults": USUAL
    | {"_use_default_values": ["steps_offset", "set_alpha_to_one", "clip_sample"]},
    "v_prediction": BETAS | {"prediction_type": "v_prediction"},
    "sample": BETAS | {"prediction_type": "sample"},
    "rescale_betas_zero_snr": USUAL
    | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    | {"timestep_spacing": "trailing"},
}


def says(folder, named, settings):
    """The folder, with another scheduler's file."""
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": named, **settings}))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", named]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def folder(save_pipeline):
    return save_pipeline(seed=3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("named", "said"),
    [
        *(("DDIMScheduler", said) for said in SAID),
        ("PNDMScheduler", "says nothing"),
        ("PNDMScheduler", "betas alone"),
        ("PNDMScheduler", "usual"),
        ("PNDMScheduler", "clip_sample_range"),
        ("PNDMScheduler", "left to defaults"),
        ("EulerDiscreteScheduler", "betas alone"),
        ("DPMSolverMultistepScheduler", "linspace"),
    ],
)
def test_every_step_is_ddims_of_that_folder(folder, make_pipeline, named, said):
    says(folder, named, SAID[said])
    saved = getattr(diffusers, named).from_pretrained(folder / "scheduler")
    networks = make_pipeline(seed=3).components | {"scheduler": saved}
    pipeline = StableDiffusionPipeline(**networks, requires_safety_checker=False)
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)  # as the released codes do
    scheduler.set_timesteps(50)
    model = load(str(folder), device="cpu")
    assert model.timesteps(50) == scheduler.timesteps.tolist()

    noise = model.initial_noise(0, 2)
    conditioning = model.encode(PROMPTS)
    for guidance in (7.5, 1.0):
        x = noise
        for i, step in enumerate(model.trajectory(noise, conditioning, 50, guidance)):
            output = step.conditional.raw
            if guidance != 1:
                output = step.unconditional.raw + guidance * (output - step.unconditional.raw)
            assert torch.equal(step.conditional.x, x)
            expected = scheduler.step(output, step.t, x).prev_sample
            torch.testing.assert_close(step.after, expected, rtol=1e-4, atol=1e-4)
            x = step.after
            if i == 3:  # and the last one, from where it arrives
                break
        last = scheduler.timesteps.tolist()[-1]
        prediction = model.predict(noise, last, conditioning)
        model_end = model.schedule.targets(50)[-1]
        alpha, sigma = (prediction.coefficient(scale) for scale in model_end)
        actual = alpha * model.schedule.bounded(prediction.x0) + sigma * prediction.epsilon
        expected = scheduler.step(prediction.raw, last, noise).prev_sample
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_file_that_says_nothing_of_clipping_clips(folder):
    says(folder, "PNDMScheduler", BETAS)
    clipping = load(str(folder), device="cpu")
    says(folder, "PNDMScheduler", BETAS | {"clip_sample": False})
    plain = load(str(folder), device="cpu")
    x = plain.initial_noise(0, 2)
    first, *_ = clipping.trajectory(x, clipping.encode(PROMPTS))
    other, *_ = plain.trajectory(x, plain.encode(PROMPTS))
    x0 = first.unconditional.guided(first.conditional, 7.5).x0
    assert (x0.abs() > 1).any()
    assert torch.equal(clipping.schedule.bounded(x0), x0.clamp(-1, 1))
    assert not torch.allclose(first.after, other.after)
    assert plain.timesteps()[0] == clipping.timesteps()[0] == 980  # no offset either
    assert [float(scale) for scale in plain.schedule.final_scales] == [1.0, 0.0]


def test_the_card_states_what_was_taken(folder):
    says(folder, "PNDMScheduler", BETAS | {"steps_offset": 1})
    taken = provenance(load(str(folder), device="cpu"))["scheduler"]
    assert taken["class"] == "DDIMScheduler"
    assert taken["saved_as"] == "PNDMScheduler"
    assert (taken["steps_offset"], taken["clip_sample"], taken["beta_end"]) == (1, True, 0.012)
    assert {"clip_sample", "set_alpha_to_one"} <= set(taken["defaults"])
    assert not {"steps_offset", "beta_end"} & set(taken["defaults"])
    json.dumps(taken)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta_schedule": "sigmoid"}, "no beta_schedule named 'sigmoid'"),
        ({"timestep_spacing": "trailin"}, "did you mean 'trailing'"),
        ({"prediction_type": "flow"}, "prediction_type"),
        ({"beta_end": 20.0}, "beta_end"),
        ({"beta_end": "0.012"}, "beta_end='0.012'; expected a whole number or a number"),
        ({"beta_start": float("nan")}, "beta_start='nan'"),
        ({"clip_sample": "yes"}, "clip_sample='yes'; expected true or false"),
        ({"clip_sample_range": 0}, "clip_sample_range"),
        ({"dynamic_thresholding_ratio": 99.5}, "dynamic_thresholding_ratio"),
        ({"num_train_timesteps": 10}, "num_train_timesteps=10; expected 50"),
        ({"num_train_timesteps": 10**12}, "num_train_timesteps"),
        ({"num_train_timesteps": None}, "num_train_timesteps='None'"),
        ({"trained_betas": [0.1, 0.2]}, "2 trained_betas for 1000 timesteps"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, "rescale_betas"),
    ],
)
def test_settings_that_make_no_schedule_are_named(folder, change, said):
    says(folder, "DDIMScheduler", USUAL | change)
    with pytest.raises(UserError) as caught:
        load(str(folder), device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_offset_beyond_the_schedule_is_refused():
    with pytest.raises(UserError, match="steps_offset=30 moves its 50 timesteps out of 0 to 999"):
        DDIMSchedule.following(DDIMScheduler(steps_offset=30))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_diffusers_takes_otherwise_than_the_file_says_is_told(folder):
    says(folder, "DDIMScheduler", USUAL | {"clip_sample": True, "steps_offset": 0})
    model = load(str(folder), device="cpu")
    taken = model.schedule.settings
    assert (taken["clip_sample"], taken["steps_offset"]) == (False, 1)  # as its pipeline does
    assert [c.partition(",")[0] for c in model.cautions] == [
        "the scheduler's file says clip_sample=True",
        "the scheduler's file says steps_offset=0",
    ]
    says(folder, "DDIMScheduler", USUAL)
    assert not load(str(folder), device="cpu").cautions


def test_thresholding_by_hand():
    schedule = DDIMSchedule(
        DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.5, sample_max_value=2.0)
    )
    x0 = torch.tensor([[0.0, 1.0, -1.5, 4.0, 9.0], [0.0, 0.1, 0.2, 0.3, 5.0]])[:, None, None]
    # The medians of |x0| are 1.5 and 0.2; s is between 1 and 2.
    expected = torch.tensor([[0.0, 1 / 1.5, -1.0, 1.0, 1.0], [0.0, 0.1, 0.2, 0.3, 1.0]])
    torch.testing.assert_close(schedule.bounded(x0)[:, 0, 0], expected)


def test_samplers_of_other_kinds_give_ddim_their_settings():
    euler = EulerDiscreteScheduler(**BETAS, steps_offset=1, timestep_spacing="leading")
    schedule = DDIMSchedule.following(euler)
    assert schedule.timesteps(50)[0] == 981
    assert schedule.settings["saved_as"] == "EulerDiscreteScheduler"
    assert schedule.settings["clip_sample"]


@pytest.mark.parametrize(
    "setting", ["use_dynamic_shifting", "invert_sigmas", "stochastic_sampling"]
)
def test_flow_matching_of_other_steps_is_refused(setting):
    with pytest.raises(UserError, match=f"{setting}=true"):
        FlowSchedule.following(FlowMatchEulerDiscreteScheduler(**{setting: True}))


@pytest.mark.parametrize("settings", [{}, {"shift": 3.0}, {"use_karras_sigmas": True}])
def test_flow_matching_steps_are_the_schedulers(settings):
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    schedule = FlowSchedule.following(scheduler)
    assert schedule.settings["shift"] == settings.get("shift", 1.0)
    scheduler.set_timesteps(20)
    assert schedule.timesteps(20) == scheduler.timesteps.tolist()
    x, v = (torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    for t, (alpha, sigma) in zip(schedule.timesteps(20), schedule.targets(20), strict=True):
        a, s = schedule.scales(torch.tensor([t]))
        # v = noise - data, x = a data + s noise
        data, noise = (x - s * v) / (a + s), (x + a * v) / (a + s)
        expected = scheduler.step(v, torch.tensor(t), x).prev_sample
        torch.testing.assert_close((alpha * data + sigma * noise).float(), expected)
        x = expected


def test_timesteps_are_spaced_once_and_the_list_is_the_callers_own(monkeypatch):
    schedule, asked = DDIMSchedule(DDIMScheduler()), []
    space = schedule.scheduler.set_timesteps
    monkeypatch.setattr(schedule.scheduler, "set_timesteps", lambda n: (asked.append(n), space(n)))
    schedule.timesteps(20).clear()
    assert schedule.timesteps(20) == [50 * i for i in range(19, -1, -1)]
    assert schedule.timesteps(25) == [40 * i for i in range(24, -1, -1)]
    assert asked == [20, 25]
