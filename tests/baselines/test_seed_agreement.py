"""Agreement over pairs of pictures, against what compares pictures elsewhere."""

from hashlib import sha256
from itertools import combinations

import numpy as np
import pytest
import torch
from anisomem.baselines.carlini import TiledL2
from anisomem.baselines.seed_agreement import SeedAgreement

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.measures.pixels import Structure
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS, SEED = ["copied", "free"], 9


class Means(torch.nn.Module):
    """Mean of every channel, so that similarities follow from colours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=[2, 3])


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "means.pt"
    torch.jit.script(Means()).save(str(path))
    return {"weights": str(path), "sha256": sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def model():
    means = torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(0)) / 2
    return AnalyticMixture(means, [0.01, 1.0], PROMPTS)


def test_ssim_is_the_mean_over_pairs_of_generated_pictures(model, make_prompts):
    detectors = [SeedAgreement("three", n=3), SeedAgreement("two", n=2)]
    recorded = Engine(model, detectors).evaluate(PROMPTS, [0, 1], SEED)
    recorded = Recorded(recorded, make_prompts(PROMPTS, [1, 0]))
    for detector in detectors:
        scores = detector.combine(recorded)
        for row, prompt in enumerate(PROMPTS):
            noise = model.initial_noise(SEED, detector.n)
            end = model.sample(noise, model.encode([prompt] * detector.n))
            each = [Structure(one[None]) for one in model.decode(end)]
            similar = [a.similarity(b) for a, b in combinations(each, 2)]
            assert scores[row] == pytest.approx(np.mean(similar), rel=1e-5)
        assert scores[0] > 0.95 and scores[1] < 0.8


def test_colours_are_the_tiled_distance_without_tiles(model, make_prompts):
    alike, tiled = SeedAgreement("a", 3, similarity="l2"), TiledL2("t", 3, grid=1)
    recorded = Engine(model, [alike, tiled]).evaluate(PROMPTS, [0, 1], SEED)
    recorded = Recorded(recorded, make_prompts(PROMPTS, [1, 0]))
    np.testing.assert_allclose(alike.combine(recorded), 1 + tiled.combine(recorded), rtol=1e-6)


def test_equal_pictures_agree_fully(weights):
    one = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    for settings in ({}, {"similarity": "l2"}, {"similarity": "sscd"} | weights):
        detector = SeedAgreement("a", **settings)
        (component,) = detector.components()
        assert component.compute([one, one, one]).tolist() == pytest.approx([1, 1])
        assert component.compute([one]).tolist() == [0, 0]  # no pair yet


def test_descriptors_are_compared_by_their_cosines(weights):
    red, cyan, white = ([255, 0, 0], [0, 255, 255], [255, 255, 255])
    pictures = [
        torch.tensor(colour, dtype=torch.uint8).expand(1, 20, 20, 3)
        for colour in (red, cyan, white)
    ]
    detector = SeedAgreement("a", similarity="sscd", convention="jeon", **weights)
    (component,) = detector.components()
    # Channels become 1 and -1: red is (1, -1, -1), opposite to cyan, and white (1, 1, 1).
    expected = np.mean([-1, -1 / 3, 1 / 3])
    assert component.compute(pictures).item() == pytest.approx(expected, abs=1e-6)
    assert component.name == f"seed_agreement/sscd[{weights['sha256']},jeon]"


def test_weights_are_asked_for_and_looked_at_before_anything_is_generated(weights, model):
    with pytest.raises(UserError, match=r"detector\.a\.sha256=DIGEST"):
        SeedAgreement("a", similarity="sscd")
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        SeedAgreement("a", similarity="sscd", sha256="abc")
    others = weights | {"sha256": "0" * 64}
    with pytest.raises(UserError, match="sha256"):
        Engine(model, [SeedAgreement("a", similarity="sscd", **others)])
    missing = weights | {"weights": "nowhere.pt"}
    with pytest.raises(UserError, match=r"cannot read the weights nowhere\.pt"):
        Engine(model, [SeedAgreement("a", similarity="sscd", **missing)])
    with pytest.raises(UserError, match="n must be an integer from 2, got 1"):
        SeedAgreement("a", n=1)


def test_pictures_too_small_for_ssim_are_refused_before_they_are_generated(make_pipeline):
    small = DiffusersUNet(make_pipeline(size=(4, 4)))
    with pytest.raises(UserError, match=r"got 8×8; give detector\.a\.similarity=l2"):
        Engine(small, [SeedAgreement("a")])
    Engine(small, [SeedAgreement("a", similarity="l2")])
    Engine(DiffusersUNet(make_pipeline()), [SeedAgreement("a")])
