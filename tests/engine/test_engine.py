"""What the engine evaluates, how often, and that batching changes nothing."""

import logging

import numpy as np
import pytest
import torch
from anisomem.baselines.carlini import TiledL2
from anisomem.baselines.controls import PromptLength
from anisomem.baselines.jeon import JeonSharpness
from anisomem.baselines.wen import WenNorm

from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Component, Detector
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.capability import Capability
from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS = ["a cat", "a red dog", "red", "a cat", "dog", "a dog", "cat"]
SIZE = len(PROMPTS)


class Counted:
    """A model whose U-Net and text encoder report every row they are given."""

    def __init__(self, pipeline):
        self.model = DiffusersUNet(pipeline)
        self.rows, self.largest, self.encoded = 0, 0, []
        self.hooks = [
            pipeline.unet.register_forward_pre_hook(self._network),
            pipeline.text_encoder.register_forward_pre_hook(self._text),
        ]

    def _network(self, module, arguments):
        self.rows += len(arguments[0])
        self.largest = max(self.largest, len(arguments[0]))

    def _text(self, module, arguments):
        self.encoded.append(len(arguments[0]))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for hook in self.hooks:
            hook.remove()


class Mine(Detector):
    """Whatever is given, for every prompt."""

    given = None

    def components(self):
        return (Component("mine", (), lambda: self.given),)

    def combine(self, recorded):
        return recorded.mean("mine", self.n)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(SIZE, 1), r"float32 \[7, 1\] for 7 prompts"),
        (torch.zeros(SIZE, 4, 8, 8), r"float32 \[7, 4, 8, 8\]"),
        (torch.zeros(()), r"float32 \[\]"),
        (torch.zeros(1), r"float32 \[1\]"),
        (torch.zeros(SIZE, dtype=torch.complex64), r"complex64 \[7\]"),
        (np.zeros(SIZE), "gave ndarray"),
        (0.5, "gave float"),
        (None, "gave NoneType"),
    ],
)
def test_a_component_is_one_real_number_a_prompt(make_pipeline, monkeypatch, given, said):
    monkeypatch.setattr(Mine, "given", given)
    engine = Engine(DiffusersUNet(make_pipeline()), [Mine("m")])
    with pytest.raises(UserError, match=said) as caught:
        engine.evaluate(PROMPTS, range(SIZE), 42)
    assert str(caught.value).startswith("component mine gave ") and "[7]" in str(caught.value)


@pytest.mark.parametrize("n", [1, 4])
def test_anisotropy_costs_two_evaluations_per_prompt_and_two_per_seed(make_pipeline, n):
    with Counted(make_pipeline()) as counted:
        engine = Engine(counted.model, [Anisotropy("a", n), PromptLength("length")])
        for seeds, seed in enumerate((42, 51), start=1):
            engine.evaluate(PROMPTS[:3], range(3), seed)
            engine.evaluate(PROMPTS[3:], range(3, SIZE), seed)
            assert counted.rows == seeds * 2 * n * (SIZE + 1)
            assert engine.batches.shared_nfe == seeds * 2 * n
        engine.evaluate(PROMPTS[:2], range(2), 42)  # the first seed is still there
        assert counted.rows == 2 * 2 * n * (SIZE + 1) + 2 * n * 2
        assert counted.model.nfe == counted.rows


@pytest.mark.parametrize(
    ("latents", "rows"), [("guided", 2 * 48 * SIZE - SIZE + 1), ("unguided", (48 + 1) * SIZE)]
)
def test_cosine_on_a_trajectory_is_that_at_the_latents_of_a_pipeline(make_pipeline, latents, rows):
    pipeline = make_pipeline()
    x = DiffusersUNet(pipeline).initial_noise(42, 1)
    at_step = {}

    def keep(_, step, t, tensors):
        at_step[step + 1] = tensors["latents"]
        return tensors

    pipeline(
        PROMPTS[0],
        guidance_scale={"guided": 7.5, "unguided": 1.0}[latents],
        latents=x,
        output_type="latent",
        callback_on_step_end=keep,
    )
    with Counted(pipeline) as counted:
        model, detector = counted.model, Anisotropy("a", cos_latents=latents, weights=(0, 1))
        recorded = Engine(model, [detector]).evaluate(PROMPTS, range(SIZE), 42)
        assert counted.rows == model.nfe == rows
    c, u = (
        model.predict(at_step[47], 41, model.encode([text])).output for text in (PROMPTS[0], "")
    )
    expected = torch.nn.functional.cosine_similarity(u, c - u, dim=1).mean()
    assert recorded[detector.cos_name][0, 0] == pytest.approx(expected.item(), abs=1e-4)


def test_detectors_share_timesteps(make_pipeline):
    # (detectors, evaluations per prompt, shared evaluations, derivatives per prompt)
    cases = [
        ([WenNorm("w")], 1, 1, 0),
        ([WenNorm("w"), Anisotropy("a")], 2, 2, 0),
        ([WenNorm("w", 4), Anisotropy("a")], 4 + 1, 4 + 1, 0),
        ([Anisotropy("a", cos_at="t:981"), Anisotropy("b", mode="x,x|c")], 2, 2, 0),
        ([JeonSharpness("j"), WenNorm("w"), Anisotropy("a")], 2, 2, 2),
        ([JeonSharpness("j", 2), JeonSharpness("p", 2, convention="paper")], 2, 2, 4),
        ([PromptLength("length")], 0, 0, 0),
    ]
    for detectors, own, shared, derivatives in cases:
        with Counted(make_pipeline()) as counted:
            engine = Engine(counted.model, detectors)
            engine.evaluate(PROMPTS, range(SIZE), 0)
            assert counted.model.nfe == own * SIZE + shared
            assert engine.batches.shared_nfe == shared
            assert counted.model.jvps == derivatives * SIZE
            assert counted.rows == counted.model.nfe + counted.model.jvps


def test_noise_per_prompt_costs_an_unconditional_evaluation_each(make_pipeline):
    with Counted(make_pipeline()) as counted:
        engine = Engine(counted.model, [Anisotropy("a", 2)], "per_prompt")
        engine.evaluate(PROMPTS, range(SIZE), 0)
        assert counted.rows == counted.model.nfe == 4 * 2 * SIZE
        assert engine.batches.shared_nfe == 0


def test_noise_per_prompt_is_that_of_seed_plus_index(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    detectors = [Anisotropy("a", 2), WenNorm("w")]
    rows = [5, 2, 40]
    actual = Engine(model, detectors, "per_prompt").evaluate(PROMPTS[:3], rows, 100)
    for i, row in enumerate(rows):
        alone = Engine(model, detectors).evaluate([PROMPTS[i]], [0], 100 + row)
        for name, values in alone.items():
            np.testing.assert_allclose(actual[name][i], values[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(
        actual["wen/norm[step:0]"],
        Engine(model, detectors).evaluate(PROMPTS[:3], rows, 100)["wen/norm[step:0]"],
    )


@pytest.mark.parametrize("noise_policy", ["shared", "per_prompt"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_batches_order_and_company_change_nothing(make_pipeline, prediction_type, noise_policy):
    model = DiffusersUNet(make_pipeline(prediction_type=prediction_type))
    detectors = [
        Anisotropy("a", 2),
        Anisotropy("p", 1, "paper", cos_at="t:1", normalisation="L2"),
        JeonSharpness("j"),
        WenNorm("w", 2),
        Anisotropy("g", 1, cos_at="step:3", cos_latents="guided", weights=(0, 1)),
    ]
    single = Engine(model, detectors, noise_policy, batch_size=1)
    alone = [single.evaluate([text], [row], 42) for row, text in enumerate(PROMPTS)]
    expected = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    assert {name: values.shape for name, values in expected.items()} == {
        detectors[0].norm_name: (SIZE, 2),
        detectors[0].cos_name: (SIZE, 2),
        detectors[1].norm_name: (SIZE, 1),
        detectors[1].cos_name: (SIZE, 1),
        detectors[2].component_names[0]: (SIZE, 1),
        detectors[3].component_names[0]: (SIZE, 2),
        detectors[4].cos_name: (SIZE, 1),
    }
    for values in expected.values():  # prompts and noise samples differ by more than the batch
        assert np.ptp(values[:3], axis=0).min() > 0.01 * np.abs(values).max()

    def assert_equal(actual, rows):
        for name, values in actual.items():
            np.testing.assert_allclose(values, expected[name][list(rows)], rtol=1e-4, atol=1e-5)

    order = np.random.default_rng(0).permutation(SIZE).tolist()
    for batch_size in (3, 64):
        engine = Engine(model, detectors, noise_policy, batch_size)
        assert_equal(engine.evaluate(PROMPTS, range(SIZE), 42), range(SIZE))
        assert_equal(engine.evaluate([PROMPTS[i] for i in order], order, 42), order)
    for company in ([detectors[0]], detectors[2:], detectors[:0:-1]):
        engine = Engine(model, company, noise_policy, batch_size=5)
        actual = engine.evaluate(PROMPTS[2:], range(2, SIZE), 42)
        assert len(actual) == len({c.name for d in company for c in d.components()})
        assert_equal(actual, range(2, SIZE))


def test_batch_size_is_the_most_latents_in_a_pass(make_pipeline):
    for batch_size, largest in ((1, 1), (4, 4), (64, 2 * SIZE)):
        with Counted(make_pipeline()) as counted:
            Engine(counted.model, [Anisotropy("a")], batch_size=batch_size).evaluate(
                PROMPTS, range(SIZE), 0
            )
            assert counted.largest == largest


def test_equal_prompts_are_encoded_once(make_pipeline):
    with Counted(make_pipeline()) as counted:
        engine = Engine(counted.model, [Anisotropy("a", 4)])
        engine.evaluate(PROMPTS, range(SIZE), 0)
        assert sorted(counted.encoded) == [1, SIZE - 1]  # no prompt at all; "a cat" is there twice
        engine.evaluate(["red"] * 5, range(5), 0)
        assert sorted(counted.encoded) == [1, 1, SIZE - 1]


class Small(AnalyticMixture):
    """A device that holds so many latents."""

    capacity = 64

    def __init__(self):
        means = torch.randn(SIZE, 4, 2, 2, generator=torch.Generator().manual_seed(0))
        super().__init__(3 * means, [0.5] * SIZE, [f"prompt {i}" for i in range(SIZE)])
        self.evaluated = 0

    def _network(self, x, t, conditioning):
        if len(x) > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.evaluated += len(x)
        return super()._network(x, t, conditioning)


def test_out_of_memory_halves_the_batch_for_good(caplog):
    large, small = Small(), Small()
    small.capacity = 3
    detectors = [Anisotropy("a", 2), JeonSharpness("j")]
    expected = Engine(large, detectors, batch_size=9).evaluate(large.prompts, range(SIZE), 0)
    assert not caplog.records

    engine = Engine(small, detectors, batch_size=9)
    with caplog.at_level(logging.WARNING):
        actual = engine.evaluate(small.prompts, range(SIZE), 0)
        # 9 latents and then 4 are too many; a derivative is two latents, one row a pass
        assert [record.message for record in caplog.records] == [
            f"out of memory: batch size is now {size}" for size in (4, 2)
        ]
        again = engine.evaluate(small.prompts, range(SIZE), 0)
        assert len(caplog.records) == 2
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(again[name], values, rtol=1e-5, atol=1e-6)


def test_cost_counts_no_evaluation_that_ran_out_of_memory():
    counts = []
    for capacity in (64, 3):
        model = Small()
        model.capacity = capacity
        detectors = [Anisotropy("a", 2), JeonSharpness("j")]
        Engine(model, detectors, batch_size=9).evaluate(model.prompts, range(SIZE), 0)
        counts.append((model.nfe, model.jvps))
        assert model.nfe + model.jvps == model.evaluated
    assert counts[0] == counts[1] == (4 * SIZE + 4, 2 * SIZE)


def test_out_of_memory_at_batch_size_one_is_one_line():
    model = Small()
    model.capacity = 0
    with pytest.raises(UserError) as caught:
        Engine(model, [WenNorm("w")], batch_size=8).evaluate(model.prompts, range(SIZE), 0)
    assert str(caught.value).startswith("out of memory at batch size 1; ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "detectors",
    [
        [WenNorm("w", 1), Anisotropy("a", 4)],
        [WenNorm("w", 1), WenNorm("w", 4)],  # the same component
    ],
)
def test_noise_of_different_n_needs_latents_of_a_multiple_of_16(make_pipeline, detectors):
    # torch.randn fills in blocks of 16, so these samples are not the first of more:
    model = DiffusersUNet(make_pipeline(channels=3, size=(4, 6)))  # 72 numbers
    assert not torch.equal(model.initial_noise(0, 4)[:1], model.initial_noise(0, 1))
    with pytest.raises(UserError, match="72 numbers") as caught:
        Engine(model, detectors)
    assert "\n" not in str(caught.value)

    Engine(model, [*detectors[:1], PromptLength("length")])  # one n, and a control without
    Engine(DiffusersUNet(make_pipeline()), detectors)


def test_a_detector_of_pictures_needs_a_model_that_makes_some():
    class WithoutDecoder(AnalyticMixture):
        declares = AnalyticMixture.declares - {Capability.PICTURES}

    model = WithoutDecoder(torch.zeros(2, 4, 8, 8), [1.0, 1.0], ["a", "b"])
    Engine(model, [WenNorm("wen", 1)])
    with pytest.raises(UserError, match=r"tiled: the model .* has no VAE .*; leave out the"):
        Engine(model, [TiledL2("tiled", 2)])
    with pytest.raises(UserError, match="give gallery=0"):
        model.require(Capability.PICTURES, "give gallery=0")
