"""Updates of a trajectory in closed form, and references that are not in the set."""

import numpy as np
import pytest
import torch
from anisomem.baselines.huang import BrokenMemories

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.run import labelled
from anisomem.run import ordinary as references


def test_updates_of_a_gaussian_in_closed_form():
    # Without difference between prompt and none, guidance changes nothing, and DDIM's step on
    # N(mu, s^2 I) scales x - alpha mu by a factor:
    #   x_next - alpha_next mu = (x - alpha mu) (alpha_next alpha s^2 + sigma_next sigma) / v.
    mean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    model = AnalyticMixture(mean, [0.5], ["it"])
    detector = BrokenMemories("b")
    recorded = Engine(model, [detector]).evaluate(["it"], [0], 3)
    assert model.nfe == detector.cost().nfe == 100
    x = model.initial_noise(3, 1)[0].double()
    steps = model.timesteps()
    ends = [model.scales(torch.tensor(t)) for t in steps[1:]] + [model.schedule.final_scales]
    for name, t, end in zip(detector.component_names, steps, ends, strict=True):
        alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(t)))
        a, s = (float(scale) for scale in end)
        factor = (a * alpha * 0.25 + s * sigma) / (alpha**2 * 0.25 + sigma**2)
        after = a * mean[0] + (x - alpha * mean[0]) * factor
        assert recorded[name][0, 0] == pytest.approx(float((after - x).norm()), rel=1e-7)
        x = after


def test_the_score_is_the_largest_deviation_from_the_references(make_prompts):
    rng = np.random.default_rng(0)
    detector = BrokenMemories("b", 2)
    names = detector.component_names
    ordinary = {name: rng.normal(5, 1, (50, 3)) for name in names}
    components = {name: rng.normal(5, 1, (2, 3)) for name in names}
    components[names[17]][0] = -20  # smaller than ever counts like larger than ever
    prompts = make_prompts(["a", "b"], [1, 0])
    scores = detector.combine(Recorded(components, prompts, None, ordinary))
    for row in range(2):
        worst = [
            max(
                abs(components[name][row, j] - ordinary[name][:, :2].mean())
                / np.std(ordinary[name][:, :2], ddof=1)
                for name in names
            )
            for j in range(2)
        ]
        assert scores[row] == pytest.approx(np.mean(worst))
    assert scores[0] > 20 > scores[1]


def composed(*overrides):
    return compose.cases(["detector=[broken_memories]", "cases=[[]]", *overrides])[0]


def test_bundled_references_are_ordinary_captions_that_nothing_else_holds():
    case = composed()
    prompts = labelled.whole(case)
    chosen = references.draw(case, prompts)
    assert len(set(chosen)) == 50
    assert not set(chosen) & set(prompts.texts)
    assert references.draw(case, prompts) == chosen
    assert references.draw(composed("references.seed=1"), prompts) != chosen
    other = labelled.whole(composed("dataset=testbed_velocity"))
    assert references.draw(composed("model=testbed_velocity"), other) == chosen


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["references.count=1"], "references.count must be an integer from 2 to 1,000,000; got 1"),
        (["references.prompts=no.txt"], "no prompt file at .no.txt."),
        (["references.count=500"], "references.count is 500, and .* has 200 prompts"),
        (["references.prompts=gustavost"], "did you mean 'gustavosta'"),
    ],
)
def test_mistakes_are_one_line(overrides, message):
    prompts = labelled.whole(composed())
    with pytest.raises(UserError, match=message):
        references.draw(composed(*overrides), prompts)


def test_references_are_recorded_beside_the_set_and_stay_out_of_its_table(
    large_run, tmp_path, capsys
):
    ordinary = tmp_path / "ordinary.txt"
    ordinary.write_text("".join(f"red dog {i}\n" for i in range(8)) + "dog 0\n")
    overrides = [
        *large_run,
        *("detector=[broken_memories]", "detector.broken_memories.n=1", "seeds=[1]"),
        *(f"references.prompts={ordinary}", "references.count=8", f"runs={tmp_path}"),
        *("timing_repeats=0", "draws=200", "workers=1", "limit=40"),
    ]
    assert main(["run", *overrides]) == 0
    printed = capsys.readouterr().out
    (folder,) = (tmp_path / "quickstart").glob("prompts-*")
    ordinary.unlink()  # finished runs name their references themselves
    case = Results(Case.stored(folder / "config.yaml"))
    assert sorted(case.case.references) == [f"red dog {i}" for i in range(8)]
    assert len(case.frame) == 40 + 8
    assert len(case.prompts) == 40
    given = case.recorded(1)
    assert {len(values) for values in given.references.values()} == {8}
    assert main(["table", str(folder)]) == 0
    assert capsys.readouterr().out.strip() in printed
