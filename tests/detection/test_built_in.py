"""Built-in detectors keep the rules, on the models that they are tried on."""

import numpy as np
import pytest

from anisomem.config import catalog
from anisomem.conformance import check
from anisomem.conformance.checks import CHECKS
from anisomem.conformance.examination import (
    FITTED,
    Setup,
    bundled,
    examinations,
    mixture,
    setups,
)
from anisomem.conformance.variants import shipped
from anisomem.detection import configured
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation

#: Read attention or pictures along trajectories, which takes a bundled model too long for a test.
TINY = {
    "bright_ending",
    "bright_mask",
    "ren_ae",
    "representation",
    "seed_agreement",
    "seed_agreement_l2",
    "stack",
    "tiled_l2",
    "tiled_l2_min",
}
#: For latents as small as these, and fewer pictures; what is stacked along
#: trajectories is tried by itself.
SETTINGS = {
    "stack": ["members=[wen,ren_le,anisotropy]"],
    "cyclic": ["cycles=1", "pairs=2"],
    "last_step_curvature": ["probes=2"],
    "earlier_checkpoint_curvature": ["probes=2"],
    "nemo": ["n=3", "kernel=3", "betas=[0.5,0.5]"],
    "seed_agreement": ["n=2"],
    "seed_agreement_l2": ["n=2"],
    "tiled_l2": ["n=2"],
    "tiled_l2_min": ["n=2"],
}

#: Read the predicted noise at the first step, which flow matching begins with as the latent.
OF_NOISE = {"anisotropy_paper", "early_metric_2", "jeon"}


@pytest.mark.parametrize("name", catalog.names("detector"))
def test_built_in_detectors_keep_the_rules(name, make_pipeline, make_prompts):
    detector = configured.named(name, SETTINGS.get(name, []))
    on = setups(detector)
    if name in TINY:
        labels = np.arange(len(on[0].prompts)) % 2
        prompts = make_prompts([f"red {'cat' * i} {i}" for i in range(len(labels))], labels)
        model = DiffusersUNet(make_pipeline(seed=1))
        on = [Setup("tiny pipeline", model, prompts, ["dog 1", "dog 2"], closed=False)]
    findings = list(check(detector, on))
    assert [finding.check for finding in findings] == ["models", *CHECKS]
    assert [str(finding) for finding in findings if not finding.ok] == []
    assert ("refused: flow_prediction mixture" in findings[0].detail) == (name in OF_NOISE)
    assert findings[0].detail.count("refused") == (name in OF_NOISE)


def test_both_bundled_models_are_tried_where_attention_is_read():
    by_name = {one.name: one for one in shipped()}
    stack, entropy = by_name["stack"], by_name["ren_le"]
    assert [place.name for place in setups(entropy)] == ["bundled epsilon", "bundled velocity"]
    assert len(setups(stack)[0].prompts) == 2 * FITTED  # it is fitted in folds
    assert len({place.model.parameterisation for place in setups(entropy)}) == 2


def test_memorized_prompts_of_a_mixture_have_tiny_spread():
    place = mixture(Parameterisation.FLOW)
    stds = place.model.variances.sqrt()[: len(place.prompts)].numpy()
    assert set(stds[place.prompts.labels == 1]) == {0.05}
    assert set(stds[place.prompts.labels == 0]) == {0.8}
    moments = place.model.means.square().mean((1, 2, 3)) + place.model.variances
    assert moments.mean() == pytest.approx(1, abs=0.05)
    wen = next(one for one in shipped() if one.name == "wen")
    for trial in examinations(wen, setups(wen))[0]:
        assert CHECKS["AUC"](trial) == "1.000"


def test_bundled_prompts_are_of_both_classes_and_references_outside():
    place = bundled("epsilon", 2)
    assert place.prompts.labels.tolist() == [1, 1, 0, 0]
    assert len(place.references) == 2 and not set(place.references) & set(place.prompts.texts)


def test_published_windows_fit_the_wide_mixtures():
    nemo = next(one for one in shipped() if one.name == "nemo")
    assert (nemo.kernel, nemo.n) == (11, 10)
    accepted, refused = examinations(nemo, setups(nemo))
    assert len(accepted) == len(Parameterisation) and not refused
