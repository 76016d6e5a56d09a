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


def test_a_model_that_another_class_makes_says_so():
    target = "anisomem.models.sdxl.StableDiffusionXL.load"
    for words, name in (
        (["model=testbed_epsilon"], "testbed_epsilon"),
        (["model=testbed_epsilon", "model._target_=mine.load"], "testbed_epsilon (mine.load)"),
        (["model=sd14", f"model._target_={target}"], f"sd14 ({target})"),
    ):
        (case,) = compose.cases(words)
        assert case.model_name == name and case.model_listed == name.partition(" ")[0]
    # By the class's earlier place it is the same one.
    node = dict(members.members("model")["diffusers_folder"], path="CompVis/stable-diffusion-v1-4")
    earlier = node | {"_target_": "anisomem.models.pretrained.PipelineModel.load"}
    assert members.model_name(earlier) == members.model_name(node)


def test_a_model_with_adapters_is_another_one_and_says_which():
    words = ["model=testbed_epsilon", "model.adapters=[/a/style.safetensors:0.8,toy.safetensors]"]
    (case,) = compose.cases(words)
    assert case.model_name == "testbed_epsilon + style:0.8 + toy" and case.model_listed == ""
    (plain,) = compose.cases(["model=testbed_epsilon", "model.adapters=[]"])
    assert plain.model_name == plain.model_listed == "testbed_epsilon"


def test_a_listed_model_may_have_adapters(monkeypatch):
    plain = members.members("model")
    tuned = {**plain["testbed_epsilon"], "adapters": ["style.safetensors:0.8"]}
    monkeypatch.setattr(members, "members", lambda group: {**plain, "tuned": tuned})
    for adapters, name in ((tuned["adapters"], "tuned"), ([], "testbed_epsilon")):
        node = {"path": tuned["path"], "adapters": adapters, "_target_": tuned["_target_"]}
        assert members.model_name(node) == members.listed(node) == name
