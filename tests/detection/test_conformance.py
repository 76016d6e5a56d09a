"""For each rule of detectors there is one made to break it, and its check catches that."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
import torch

from anisomem.cli.main import main
from anisomem.conformance import DetectorConformance, check
from anisomem.conformance.checks import CHECKS
from anisomem.conformance.examination import mixture
from anisomem.detection.base import (
    Component,
    Cost,
    Detector,
    Info,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import Conditional, Unconditional
from anisomem.detection.places import FIRST, At
from anisomem.errors import UserError
from anisomem.models.prediction import Parameterisation
from anisomem.papers import Paper

INFO = Info(
    Paper("Norm of the prediction", "Nobody", "unpublished", 2026),
    "the prediction with the prompt on pure noise",
    "norm",
)


@dataclass
class Norm(Detector):
    """Keeps every rule; the others break one each."""

    info = INFO
    scale: float = 1.0
    at: At = FIRST

    def called(self):
        return component_name("norm/x0", f"scale:{self.scale}", self.at)

    def compute(self, prediction):
        return self.scale * flat_norm(prediction.x0)

    def components(self):
        return [Component(self.called(), [Conditional(self.at)], self.compute)]

    def cost(self):
        return Cost(nfe=self.n)


class ShortInfo(Norm):
    info = replace(INFO, quantity="TODO")


class NoInfo(Norm):
    info = None


class NotANumber(Norm):
    def compute(self, prediction):
        values = super().compute(prediction)
        return torch.where(values > values.median(), torch.nan, values)


class InfiniteScore(Norm):
    def combine(self, recorded):
        return np.inf * super().combine(recorded)


class OneScore(Norm):
    def combine(self, recorded):
        return super().combine(recorded)[:1]


class Global(Norm):
    """Draws from the generator that everything else draws from."""

    def compute(self, prediction):
        values = super().compute(prediction)
        return values + torch.randn(len(values))


class Centred(Norm):
    """Relative to whatever prompts happen to be beside it."""

    def compute(self, prediction):
        values = super().compute(prediction)
        return values - values.mean()


class Position(Norm):
    """A seeded number for each place in a batch, so that it is at least deterministic."""

    def compute(self, prediction):
        values = super().compute(prediction)
        return values + torch.arange(len(values))


class Squatter(Norm):
    """Takes the name of Wen's norm for another number."""

    def called(self):
        return "wen/norm[step:0]"


class Unnamed(Norm):
    """A setting that changes the number and is missing from its name."""

    def called(self):
        return component_name("norm/x0", self.at)


@dataclass
class UnnamedChoice(Norm):
    """The same of a word among several."""

    power: Literal["one", "two"] = "one"

    def compute(self, prediction):
        values = super().compute(prediction)
        return values if self.power == "one" else values.square()


class TooCheap(Norm):
    """Evaluates more than it declares."""

    def components(self):
        needs = Conditional(self.at), Unconditional(self.at)
        return [Component(self.called(), needs, lambda c, u: self.compute(c))]


class ForgetsN(Norm):
    """Right at n = 1 alone."""

    def cost(self):
        return Cost(nfe=1)


class TooManyDerivatives(Norm):
    def cost(self):
        return Cost(nfe=self.n, jvps=self.n)


class Remembers(Norm):
    """Scores by what it saw while it evaluated."""

    def compute(self, prediction):
        self.seen = super().compute(prediction)
        return torch.zeros_like(self.seen)

    def combine(self, recorded):
        seen = getattr(self, "seen", None)
        if seen is None or len(seen) != len(recorded.prompts):
            return np.zeros(len(recorded.prompts))
        return seen.numpy()


class InPlace(Norm):
    def combine(self, recorded):
        values = recorded.components[self.component_names[0]]
        values *= 2
        return values.mean(axis=1)


class Labelled(Norm):
    def combine(self, recorded):
        values = super().combine(recorded)
        return values - values[recorded.prompts.labels == 0].mean()


class LabelledFeatures(Norm):
    uses_labels = True

    def features(self, recorded):
        return recorded.prompts.labels[:, None].astype(float)


BROKEN = {
    ShortInfo: ("info", "info.quantity is to be filled in, got 'TODO'"),
    NoInfo: ("info", "info is missing"),
    NotANumber: ("finite", "is [nan] for 'prompt "),
    InfiniteScore: ("finite", "combine returns NaN or infinity"),
    OneScore: ("finite", "shape (1,) for 24 prompts"),
    Global: ("deterministic", "differs between two runs of the same seed"),
    Centred: ("batches", "in a batch of 1"),
    Position: ("order", "in another order"),
    Squatter: ("company", "beside jeon_5, n=2 and wen_5, n=2"),
    Unnamed: ("names", "with scale=1.5"),
    UnnamedChoice: ("names", "with power='two'"),
    TooCheap: (
        "cost",
        "evaluates 2 NFE and 0 JVP for one prompt at n=1",
    ),
    ForgetsN: (
        "cost",
        "at n=2, and cost() declares 1",
    ),
    TooManyDerivatives: ("cost", "0 JVP for one prompt at n=1, and cost() declares 1 and 1"),
    Remembers: ("store", "combine gives other scores from the store"),
    InPlace: ("store", "combine changes the recorded norm/x0"),
    Labelled: ("labels", "combine depends on labels and uses_labels is not declared"),
    LabelledFeatures: ("labels", "features depends on labels"),
}
#: Breaking one rule breaks these as well, as it should.
ALSO = {
    Global: {"batches", "order", "company", "names"},
    Centred: {"company"},
    Position: {"batches"},
    NotANumber: {"batches", "company", "store", "AUC", "names"},
    InfiniteScore: {"AUC"},
    OneScore: {"AUC"},
    Squatter: {"names"},
    Remembers: {"deterministic", "AUC"},
    InPlace: {"deterministic", "batches", "order", "company", "names", "labels"},
}


def failed(detector):
    on = [mixture(Parameterisation.EPSILON)]
    return {finding.check: finding.detail for finding in check(detector, on) if not finding.ok}


def test_a_good_detector_passes():
    findings = list(check(Norm("norm", n=2)))
    assert [str(finding) for finding in findings if not finding.ok] == []
    by_name = {finding.check: finding.detail for finding in findings}
    for parameterisation in Parameterisation:
        assert f"{parameterisation} mixture" in by_name["models"]
    assert by_name["cost"] == "2 NFE"
    assert by_name["names"] == "varied at, scale"


@pytest.mark.parametrize("made", BROKEN, ids=lambda made: made.__name__)
def test_a_broken_rule_is_caught_by_its_check(made):
    name, message = BROKEN[made]
    found = failed(made("broken"))
    assert message in found.pop(name)
    assert set(found) <= ALSO.get(made, set())


@dataclass
class WithOption(TooCheap):
    """Declares what it evaluates by default, and evaluates less on request."""

    both: bool = True

    def components(self):
        return super().components() if self.both else Norm.components(self)

    def cost(self):
        return Cost(nfe=2 * self.n)


def test_declared_costs_hold_at_default_settings():
    on = [mixture(Parameterisation.EPSILON)]
    for both, said in ((True, "2 NFE"), (False, "2 NFE at default settings")):
        (cost,) = (one for one in check(WithOption("w", both=both), on) if one.check == "cost")
        assert cost.ok and cost.detail == said


@dataclass
class OnlyVelocity(Norm):
    """Refuses in words the models that it is not made for."""

    def require_of(self, model):
        if model.parameterisation != "v_prediction":
            raise UserError(f"{self.name} is for velocity models, got {model.parameterisation}")


def test_a_refused_model_is_said_and_no_failure():
    first, *rest = check(OnlyVelocity("picky"))
    assert first.ok and first.detail.startswith("v_prediction mixture; refused: epsilon mixture: ")
    assert "picky is for velocity models, got flow_prediction" in first.detail
    assert all(finding.ok for finding in rest) and len(rest) == len(CHECKS)


def test_refusing_every_model_fails():
    (only,) = check(OnlyVelocity("picky"), [mixture(Parameterisation.EPSILON)])
    assert not only.ok and only.check == "models" and "picky is for velocity" in only.detail


def test_a_crash_is_one_line_of_its_check():
    class Crashes(Norm):
        def combine(self, recorded):
            raise KeyError("norm/x1")

    assert failed(Crashes("crashes"))["store"] == "KeyError: 'norm/x1'"


class TestSuite(DetectorConformance):
    """The suite as a user has it."""

    detector = Norm("norm")


def test_suite_has_every_check_and_fails_where_it_should():
    tests = {name for name in dir(DetectorConformance) if name.startswith("test_")}
    assert tests == {f"test_{name.lower()}" for name in CHECKS}

    class Suite(DetectorConformance):
        detector = ForgetsN("broken")

    with pytest.raises(AssertionError, match="epsilon mixture: evaluates 2 NFE"):
        Suite().test_cost()
    Suite().test_labels()


def test_command(capsys, monkeypatch):
    assert main(["check-detector", "wen", "n=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["models", *CHECKS]
    assert all(line.startswith("ok ") for line in lines)
    assert any(line.endswith("4 NFE") for line in lines)

    monkeypatch.setattr("anisomem.baselines.wen.WenNorm.cost", lambda self: Cost(nfe=7))
    assert main(["check-detector", "anisomem.baselines.wen.WenNorm", "steps=2"]) == 1
    (line,) = (li for li in capsys.readouterr().out.splitlines() if not li.startswith("ok"))
    assert line.startswith("FAILED  cost") and "evaluates 2 NFE" in line and "declares 7" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wne"], "no detector named 'wne'; did you mean 'wen'?"),
        (["wen", "stepss=2"], "stepss"),
        (["wen", "steps"], "name=value"),
        (["wen", "steps=0"], "steps must be an integer from 1 to 50, got 0"),
        (["anisomem.baselines.wen.Wen"], "anisomem.baselines.wen"),
        (["nowhere.Nothing"], "No module named 'nowhere'"),
        (["collections.OrderedDict"], "collections.OrderedDict is no Detector"),
    ],
)
def test_mistakes_are_one_line(arguments, expected, capsys):
    assert main(["check-detector", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and expected in printed.err
