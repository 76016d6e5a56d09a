"""What tables call a model."""

import pytest

from anisomem.config import compose, members
from anisomem.report.wandb_logger import artifact_name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("${testbed:epsilon}", "testbed_epsilon"),
        ("CompVis/stable-diffusion-v1-4", "sd14"),
        ("owner/name", "owner/name"),
        ("/somewhere/models/dreamlike", "dreamlike"),
        ("/cache/models--owner--my-name/snapshots/0123456789abcdef", "owner/my-name"),
    ],
)
def test_a_model_has_its_name_in_conf_or_its_own(path, expected):
    node = {"path": path, "stands_for": "sd20"}
    assert members.model_name(node) == expected


def test_scores_without_a_model_stand_for_one():
    assert members.model_name({"stands_for": "sd14"}) == "sd14"
    assert members.model_name({"stands_for": None}) == "unknown"


def test_every_composed_model_has_its_name():
    for name in ("testbed_velocity", "sd20", "sdxl"):
        (case,) = compose.cases([f"model={name}"])
        assert case.model_name == name


def test_names_of_artifacts_are_valid():
    assert artifact_name("my set, é/$1: 漢") == "my-set-----1---"
    assert artifact_name("a_b-c.d") == "a_b-c.d" and len(artifact_name("x" * 300)) == 100
