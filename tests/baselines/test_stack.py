"""Stacks: what they record, what they are fitted on, and what they refuse."""

import numpy as np
import pytest
from anisomem.baselines.controls import PromptLength, TextOnly
from anisomem.baselines.huang import BrokenMemories
from anisomem.baselines.ren import LayerEntropy
from anisomem.baselines.stack import LogisticStack
from anisomem.baselines.wen import WenNorm
from sklearn.linear_model import LogisticRegression

from anisomem.config import compose
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Recorded
from anisomem.detection.configured import detectors
from anisomem.errors import UserError
from anisomem.evaluation.fitting import folds


def recorded(make_prompts, names, n_prompts=60, n=2):
    rng = np.random.default_rng(0)
    labels = np.arange(n_prompts) % 3 == 0
    components = {
        name: rng.normal(size=(n_prompts, n)) + rng.uniform() * labels[:, None] for name in names
    }
    texts = [f"prompt {i}" for i in range(n_prompts)]
    return Recorded(components, make_prompts(texts, labels, np.arange(n_prompts) // 2))


def test_a_stack_is_a_logistic_regression_fitted_on_other_folds(make_prompts):
    members = [WenNorm("wen", 2), LayerEntropy("le", 2), Anisotropy("a", 2, weights="fitted")]
    stack = LogisticStack("stack", 2, members)
    names = ["wen/norm[step:0]", members[1].component_names[0], *members[2].component_names]
    assert list(stack.component_names) == names
    given = recorded(make_prompts, names)
    scores = stack.combine(given)

    columns = np.stack([given.components[name].mean(axis=1) for name in names], axis=1)
    labels, fold = given.prompts.labels, folds(given.prompts.labels, given.prompts.clusters)
    for k in range(5):
        others = columns[fold != k]
        negatives = others[labels[fold != k] == 0]
        shift, scale = negatives.mean(axis=0), negatives.std(axis=0)
        fit = LogisticRegression(max_iter=1000).fit((others - shift) / scale, labels[fold != k])
        expected = fit.decision_function((columns[fold == k] - shift) / scale)
        np.testing.assert_allclose(scores[fold == k], expected, rtol=1e-9)


def test_the_label_of_a_prompt_does_not_move_its_own_score(make_prompts):
    stack = LogisticStack("stack", 2, [WenNorm("wen", 2), LayerEntropy("le", 2)])
    given = recorded(make_prompts, stack.component_names)
    before = stack.combine(given)
    fold = folds(given.prompts.labels, given.prompts.clusters)
    # The two prompts of a cluster change places, so the folds and all other labels stay.
    pair = next(
        i for i in range(0, 60, 2) if given.prompts.labels[i] != given.prompts.labels[i + 1]
    )
    labels = given.prompts.labels.copy()
    labels[[pair, pair + 1]] = labels[[pair + 1, pair]]
    changed = make_prompts(given.prompts.texts, labels, given.prompts.clusters)
    assert np.array_equal(folds(labels, changed.clusters), fold)
    after = stack.combine(Recorded(given.components, changed))
    same = fold == fold[pair]
    np.testing.assert_allclose(after[same], before[same], rtol=1e-9)
    assert not np.allclose(after[~same], before[~same])


def test_members_share_what_they_record_and_are_asked_what_they_need():
    stack = LogisticStack("s", 1, [WenNorm("a", 1, steps=2), WenNorm("b"), BrokenMemories("c")])
    assert stack.uses_references
    assert stack.component_names[:2] == ["wen/norm[step:0]", "wen/norm[step:1,guided]"]
    assert len(stack.component_names) == 2 + 50
    with pytest.raises(UserError, match="no weights are published"):
        LogisticStack("s", 1, [Anisotropy("a")]).require(None)


def test_members_are_named_in_the_configuration_and_take_the_stacks_n():
    overrides = [
        "detector=[stack,wen]",
        "detector.stack.members=[wen,ren_le]",
        "detector.stack.n=3",
    ]
    (case,) = compose.cases([*overrides, "detector.wen.steps=2", "cases=[[]]"])
    stack = detectors(case.detector)[0]
    assert [(m.name, m.n) for m in stack.members] == [("wen", 3), ("ren_le", 3)]
    assert stack.members[0].steps == 2  # as this run sets it


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[wem]", "no detector named 'wem'; did you mean 'wen'"),
        ("[]", "stack needs names of detectors"),
        ("[text_only]", "stack cannot hold text_only, whose score depends on labels"),
    ],
)
def test_mistakes_are_one_line(members, message):
    overrides = ["detector=[stack]", f"detector.stack.members={members}", "cases=[[]]"]
    with pytest.raises(UserError, match=message):
        detectors(compose.cases(overrides)[0].detector)


def test_controls_without_labels_may_be_members():
    LogisticStack("s", 1, [PromptLength("length")])
    with pytest.raises(UserError, match="depends on labels"):
        LogisticStack("s", 1, [TextOnly("text")])
