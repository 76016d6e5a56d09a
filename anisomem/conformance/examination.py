"""What a detector is tried on: models with prompts, and its components there.

The rules are in ``checks``; detectors like the given one, for rules that compare, in ``variants``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from anisomem.config import compose
from anisomem.config.build import build
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Detector, Recorded
from anisomem.detection.needs import (
    Need,
    OneStepPicture,
    Picture,
)
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.base import DiffusionModel
from anisomem.models.prediction import Parameterisation
from anisomem.models.schedule import FlowSchedule
from anisomem.run import labelled
from anisomem.run.workers import one_thread

SEED = 7  # of the noise
RELATIVE = 1e-4  # by which a component may move with batch size, order and company,
PICTURED = 1e-2  # and what is read off pictures of 256 levels, which may round to another
EACH, REFERENCES = 12, 6  # prompts of each class of a mixture, and others to compare with
SIDE = 4  # of a mixture's latents
WIDE, WIDE_EACH, WIDE_REFERENCES = 44, 2, 2  # for what needs room: published windows fit
FEW, FITTED = 2, 5  # of each class on a bundled model, the latter for a fit in folds
MEMORIZED_STD, ORDINARY_STD = 0.05, 0.8
UNDERFITTED = 0.1  # by how much wider a mixture's baseline is


@dataclass(frozen=True)
class Setup:
    """A model with prompts to try a detector on.

    Attributes:
        name: The name of the model, in words.
        model: The model itself.
        prompts: The prompts of both classes.
        references: Further prompts, for detectors that compare with some.
        closed: Whether it is a mixture of many prompts, of which some are memorized beyond doubt.
    """

    name: str
    model: DiffusionModel
    prompts: PromptSet
    references: Sequence[str]
    closed: bool


@cache
def mixture(parameterisation: Parameterisation, wide: bool = False) -> Setup:
    """A mixture in double precision, so that rounding hides nothing; flow has its own schedule."""
    side, each = (WIDE, WIDE_EACH) if wide else (SIDE, EACH)
    n = 2 * each
    total = n + (WIDE_REFERENCES if wide else REFERENCES)
    memorized = [i % 2 == 0 and i < n for i in range(total)]
    stds = [MEMORIZED_STD if yes else ORDINARY_STD for yes in memorized]
    means = torch.randn(total, 4, side, side, generator=torch.Generator().manual_seed(0)).double()
    means *= (1 - torch.tensor(stds).double().square()).sqrt()[:, None, None, None]
    texts = [f"prompt {i}" for i in range(total)]
    flow = parameterisation == Parameterisation.FLOW
    schedule = FlowSchedule(FlowMatchEulerDiscreteScheduler(shift=3.0)) if flow else None
    model = AnalyticMixture(means, stds, texts, None, parameterisation, schedule)
    looser = [min(1.0, std + UNDERFITTED) for std in stds]  # as an earlier checkpoint would be
    model.baseline = AnalyticMixture(means, looser, texts, None, parameterisation, schedule)
    prompts = PromptSet(
        "mixture",
        texts[:n],
        texts[:n],
        np.array(memorized[:n], np.int8),
        np.arange(n),
        ["mixture"] * n,
        ["component"] * n,
    )
    name = f"{'wide ' * wide}{parameterisation} mixture"
    return Setup(name, model, prompts, texts[n:], closed=not wide)


@cache
def bundled(variant: str, each: int) -> Setup:
    """A bundled model with as many prompts of each class."""
    case = compose.cases([f"model=testbed_{variant}", f"dataset=testbed_{variant}"])[0]
    every = labelled.whole(case)
    rows = every.one_per_cluster()
    memorized = [i for i in rows if every.labels[i] == 1]
    others = [i for i in rows if every.labels[i] == 0]
    prompts = every.subset([*memorized[:each], *others[:each]])
    model = build(case.model, "model")
    model.baseline = build(case.model, "model")
    references = [every.texts[i] for i in others[-2:]]
    return Setup(f"bundled {variant}", model, prompts, references, closed=False)


def reads(detector: Detector) -> set[Need]:
    """Everything that a detector needs evaluated."""
    return {need for component in detector.components() for need in component.needs}


def setups(detector: Detector) -> list[Setup]:
    """The models that a detector is to be tried on, by what it reads."""
    if any(_beyond_a_mixture(need) for need in reads(detector)):
        each = FITTED if detector.uses_labels else FEW
        return [bundled(variant, each) for variant in ("epsilon", "velocity")]
    mixtures = [mixture(parameterisation) for parameterisation in Parameterisation]
    if any(_accepts(setup.model, detector) for setup in mixtures):
        return mixtures
    return [mixture(parameterisation, wide=True) for parameterisation in Parameterisation]


def _beyond_a_mixture(need: Need) -> bool:
    """Whether only a network has what is needed, or has it in a way that says something."""
    lacking = need.capability is not None and need.capability not in AnalyticMixture.declares
    return lacking or isinstance(need, Picture | OneStepPicture)


def _accepts(model: DiffusionModel, detector: Detector) -> bool:
    try:
        Engine(model, [detector])
    except UserError:
        return False
    return True


class Examination:
    """A detector on a model; what several checks need is evaluated once.

    Arguments:
        detector: The detector that is tried.
        place: The model and its prompts.
    """

    def __init__(self, detector: Detector, setup: Setup) -> None:
        self.detector, self.setup = detector, setup
        self.rows = list(range(len(setup.prompts)))

    def evaluate(
        self,
        rows: Sequence[int],
        detectors: Sequence[Detector] | None = None,
        batch_size: int = 64,
    ) -> dict[str, Array]:
        """Components of some of the prompts, name to ``[B, n]``; by default of the detector."""
        chosen = [self.detector] if detectors is None else detectors
        engine = Engine(self.setup.model, chosen, batch_size=batch_size)
        with one_thread():
            return engine.evaluate([self.setup.prompts.texts[i] for i in rows], rows, SEED)

    @cached_property
    def expected(self) -> dict[str, Array]:
        """Components of all prompts in one batch, what every other way must come to."""
        return self.evaluate(self.rows)

    @cached_property
    def recorded(self) -> Recorded:
        """The same, as a score is made from it."""
        references: Mapping[str, Array] = {}
        if self.detector.uses_references:
            texts = self.setup.references
            engine = Engine(self.setup.model, [self.detector])
            references = engine.evaluate(texts, range(len(texts)), SEED)
        return Recorded(self.expected, self.setup.prompts, "sd14", references)

    @cached_property
    def scores(self) -> Array:
        """What they are combined to, ``[N]``."""
        return self.detector.combine(self.recorded)

    def compare(self, actual: Mapping[str, Array], rows: Sequence[int], how: str) -> None:
        """Raises unless components are those that were expected.

        Raises:
            AssertionError: A number is further off than :data:`RELATIVE`, or :data:`PICTURED`.
        """
        pictured = any(isinstance(n, Picture | OneStepPicture) for n in reads(self.detector))
        relative = PICTURED if pictured else RELATIVE
        for name, values in actual.items():
            if name not in self.expected:
                continue
            whole = self.expected[name]
            expected = whole[list(rows)][:, : values.shape[1]]
            numbers = values[:, : whole.shape[1]]
            least = relative / 10 * float(np.abs(whole[np.isfinite(whole)]).max(initial=0))
            close = np.isclose(numbers, expected, rtol=relative, atol=least, equal_nan=True)
            if not close.all():
                row, sample = np.argwhere(~close)[0]
                raise AssertionError(
                    f"{name} of {self.setup.prompts.texts[rows[row]]!r} is "
                    f"{expected[row, sample]:.6g}, and {numbers[row, sample]:.6g} {how}"
                )


def examinations(
    detector: Detector, on: Sequence[Setup]
) -> tuple[list[Examination], dict[str, str]]:
    """The models that a detector works on, and why it refuses the others, by name."""
    accepted, refused = [], {}
    for setup in on:
        exam = Examination(detector, setup)
        try:
            _ = exam.expected
        except UserError as error:
            refused[setup.name] = str(error)
            continue
        except Exception:  # each check says so
            pass
        accepted.append(exam)
    return accepted, refused
