"""Examples are chosen by what is known of prompts, whatever detectors say of them."""

import numpy as np
import pytest

from anisomem.config import catalog, compose
from anisomem.demo.examples import EACH, examples, truth
from anisomem.run import labelled


@pytest.mark.parametrize("variant", catalog.VARIANTS)
def test_examples_of_the_bundled_sets(variant):
    name = f"testbed_{variant}"
    (config,) = compose.cases(["experiment=demo", f"model={name}", f"dataset={name}"])
    prompts = labelled.whole(config)
    chosen = examples(prompts)
    row = {text: i for i, text in enumerate(prompts.texts)}
    kinds = [one.kind for one in chosen]
    assert kinds == ["memorized"] * EACH + ["near miss"] * EACH + ["ordinary"] * EACH
    rows = np.array([row[one.prompt] for one in chosen]).reshape(3, EACH)
    memorized, near, ordinary = rows
    assert (prompts.labels[rows] == np.array([[1], [0], [0]])).all()
    assert (prompts.clusters[memorized] == prompts.clusters[near]).all()
    assert {prompts.blocks[i] for i in near} == {"near_miss"}
    assert not set(prompts.clusters[ordinary]) & set(prompts.clusters[memorized])
    assert len({one.prompt for one in chosen}) == len(chosen)
    assert prompts.pictures and all(prompts.pictures[i] for i in memorized)
    assert truth(prompts, chosen[0].prompt).startswith("labelled memorized: ")
    assert truth(prompts, chosen[-1].prompt) == (
        "labelled not memorized: 0% of its pictures reproduce a training picture"
    )


def test_a_set_without_blocks_has_examples_too(make_prompts):
    prompts = make_prompts(["a", "b", "c", "d"], [1, 0, 1, 0], [0, 0, 1, 2])
    assert [(one.kind, one.prompt) for one in examples(prompts)] == [
        ("memorized", "a"),
        ("memorized", "c"),
        ("ordinary", "d"),
    ]
    assert truth(prompts, "a") == "labelled memorized"
    assert truth(prompts, "e") == "" and truth(None, "a") == ""
