"""What every detector has to keep, as checks: ``anisomem check-detector``, or a test of one's own.

.. code-block:: python

    from anisomem.conformance import DetectorConformance

    class TestMine(DetectorConformance):
        detector = Mine("mine")

A detector is tried on Gaussian mixtures whose optimal network is known in closed form, one for
each thing that a network may predict, where half of the prompts select a component of tiny
standard deviation, as a memorized picture is, and half an ordinary one; what a component does not
spread, its mean has, so that all have the same second moment. One that reads attention
or pictures is tried on the bundled models instead. :data:`CHECKS` are functions of such a
:class:`Trial` that return what they found and raise ``AssertionError`` where a rule is broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from anisomem import config
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Detector, Recorded
from anisomem.detection.needs import EndAttention, Picture, TokenAttention
from anisomem.engine import Engine
from anisomem.errors import UserError
from anisomem.evaluation.curves import auc
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.base import DiffusionModel, Parameterisation
from anisomem.models.schedule import FlowSchedule
from anisomem.recording import one_thread
from anisomem.storage.store import Origin, ScoreStore, arrays

SEED = 7  # of the noise
RELATIVE = 1e-4  # by which a component may move with batch size, order and company
EACH, REFERENCES = 12, 6  # prompts of each class of a mixture, and others to compare with
FEW, FITTED = 2, 5  # of each class on a bundled model, the latter for a fit in folds
MEMORIZED_STD, ORDINARY_STD = 0.05, 0.8
PLACEHOLDERS = ("", "...", "TODO", "FIXME", "?")


@dataclass(frozen=True)
class Place:
    """A model with prompts to try a detector on.

    Attributes:
        name: Of the model, in words.
        model: The model.
        prompts: Of both classes.
        references: Further prompts, for detectors that compare with some.
        closed: Whether it is a mixture, so that which prompt is memorized is beyond doubt.
    """

    name: str
    model: DiffusionModel
    prompts: PromptSet
    references: Sequence[str]
    closed: bool


@cache
def mixture(parameterisation: Parameterisation) -> Place:
    """A mixture in double precision, so that rounding hides nothing; flow has its own schedule."""
    total = 2 * EACH + REFERENCES
    memorized = [i % 2 == 0 and i < 2 * EACH for i in range(total)]
    stds = [MEMORIZED_STD if yes else ORDINARY_STD for yes in memorized]
    means = torch.randn(total, 4, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    means *= (1 - torch.tensor(stds).double().square()).sqrt()[:, None, None, None]
    texts = [f"prompt {i}" for i in range(total)]
    flow = parameterisation == Parameterisation.FLOW
    schedule = FlowSchedule(FlowMatchEulerDiscreteScheduler(shift=3.0)) if flow else None
    model = AnalyticMixture(means, stds, texts, None, parameterisation, schedule)
    n = 2 * EACH
    prompts = PromptSet(
        "mixture",
        texts[:n],
        texts[:n],
        np.array(memorized[:n], np.int8),
        np.arange(n),
        ["mixture"] * n,
        ["component"] * n,
    )
    return Place(f"{parameterisation} mixture", model, prompts, texts[n:], closed=True)


@cache
def bundled(variant: str, each: int) -> Place:
    """A bundled model with as many prompts of each class."""
    case = config.cases([f"model=testbed_{variant}", f"dataset=testbed_{variant}"])[0]
    every: PromptSet = config.build(case.dataset, "dataset")
    rows = every.one_per_cluster()
    memorized = [i for i in rows if every.labels[i] == 1]
    others = [i for i in rows if every.labels[i] == 0]
    prompts = every.subset([*memorized[:each], *others[:each]])
    model = config.build(case.model, "model")
    references = [every.texts[i] for i in others[-2:]]
    return Place(f"bundled {variant}", model, prompts, references, closed=False)


def places(detector: Detector) -> list[Place]:
    """The models that a detector is to be tried on, by what it reads."""
    mixtures = [mixture(parameterisation) for parameterisation in Parameterisation]
    for place in mixtures:
        try:
            needs = {need for c in detector.components(place.model) for need in c.needs}
        except UserError:
            continue
        if any(isinstance(need, TokenAttention | EndAttention | Picture) for need in needs):
            each = FITTED if detector.uses_labels else FEW
            return [bundled(variant, each) for variant in ("epsilon", "velocity")]
    return mixtures


class Trial:
    """A detector on a model; what several checks need is evaluated once.

    Arguments:
        detector: The detector.
        place: The model and its prompts.
    """

    def __init__(self, detector: Detector, place: Place) -> None:
        self.detector, self.place = detector, place
        self.rows = list(range(len(place.prompts)))

    def evaluate(
        self,
        rows: Sequence[int],
        detectors: Sequence[Detector] | None = None,
        batch_size: int = 64,
    ) -> dict[str, Array]:
        """Components of some of the prompts, name to ``[B, n]``; by default of the detector."""
        chosen = [self.detector] if detectors is None else detectors
        engine = Engine(self.place.model, chosen, batch_size=batch_size)
        with one_thread():
            return engine.evaluate([self.place.prompts.texts[i] for i in rows], rows, SEED)

    @cached_property
    def expected(self) -> dict[str, Array]:
        """Components of all prompts in one batch, what every other way must come to."""
        return self.evaluate(self.rows)

    @cached_property
    def recorded(self) -> Recorded:
        """The same, as a score is made from it."""
        references: Mapping[str, Array] = {}
        if self.detector.uses_references:
            texts = self.place.references
            engine = Engine(self.place.model, [self.detector])
            references = engine.evaluate(texts, range(len(texts)), SEED)
        return Recorded(self.expected, self.place.prompts, "sd14", references)

    def compare(self, actual: Mapping[str, Array], rows: Sequence[int], how: str) -> None:
        """Raises unless components are those that were expected.

        Raises:
            AssertionError: One that is further off than :data:`RELATIVE`.
        """
        for name, values in actual.items():
            if name not in self.expected:
                continue
            whole = self.expected[name]
            expected = whole[list(rows)][:, : values.shape[1]]
            found = values[:, : whole.shape[1]]
            least = RELATIVE / 10 * float(np.abs(whole[np.isfinite(whole)]).max(initial=0))
            close = np.isclose(found, expected, rtol=RELATIVE, atol=least, equal_nan=True)
            if not close.all():
                row, sample = np.argwhere(~close)[0]
                raise AssertionError(
                    f"{name} of {self.place.prompts.texts[rows[row]]!r} is "
                    f"{expected[row, sample]:.6g}, and {found[row, sample]:.6g} {how}"
                )


def declares_what_it_is(trial: Trial) -> str:
    """``info`` is filled in; a detector that reads nothing of the model needs none."""
    detector = trial.detector
    info = detector.info
    if members := _members(detector):
        return f"a combination of {', '.join(member.name for member in members)}"
    if info is None:
        assert not detector.component_names, "info is missing; see anisomem.detection.base.Info"
        return "reads nothing of the model"
    for name in ("title", "authors", "venue", "needs", "orientation", "nfe", "jvps"):
        value = getattr(info, name)
        assert value.strip() not in PLACEHOLDERS, f"info.{name} is to be filled in, got {value!r}"
    for name in ("nfe", "jvps"):
        formula = getattr(info, name)
        assert re.fullmatch(r"(\d+|[nk])+", formula), (
            f"info.{name} must be a product such as 2nk, got {formula!r}"
        )
    assert info.year >= 1900, f"info.year is to be filled in, got {info.year}"
    return f"{info.authors}, {info.venue} {info.year}"


def records_what_it_names(trial: Trial) -> str:
    """``component_names``, which say whether runs share a store, are those of ``components``."""
    names = list(trial.detector.component_names)
    found = [component.name for component in trial.detector.components(trial.place.model)]
    assert sorted(set(found)) == sorted(names), (
        f"component_names are {names}, and components are {found}"
    )
    for name, values in trial.expected.items():
        shape = len(trial.rows), trial.detector.n
        assert values.shape == shape, f"{name} has shape {values.shape}, expected {shape}"
    return f"{len(names)} component{'s' * (len(names) != 1)}"


def is_finite(trial: Trial) -> str:
    """Components and scores are numbers, one score for each prompt."""
    for name, values in trial.expected.items():
        bad = ~np.isfinite(values).all(axis=1)
        assert not bad.any(), (
            f"{name} is {values[bad][0]} for {trial.place.prompts.texts[int(bad.argmax())]!r}"
        )
    scores = np.asarray(trial.detector.combine(trial.recorded))
    n = len(trial.rows)
    assert scores.shape == (n,), f"combine returns shape {scores.shape} for {n} prompts"
    assert np.isfinite(scores).all(), "combine returns NaN or infinity from finite components"
    return ""


def is_deterministic(trial: Trial) -> str:
    """Equal noise seeds give equal numbers, to the last bit."""
    again = trial.evaluate(trial.rows)
    for name, values in trial.expected.items():
        same = np.array_equal(values, again[name], equal_nan=True)
        assert same, f"{name} differs between two runs of the same seed"
    first, second = (trial.detector.combine(trial.recorded) for _ in range(2))
    assert np.array_equal(first, second, equal_nan=True), "combine differs between two calls"
    return ""


def ignores_batches(trial: Trial) -> str:
    """A prompt's components do not depend on the prompts beside it."""
    for part in (trial.rows[:1], trial.rows[1:]):
        trial.compare(trial.evaluate(part, batch_size=3), part, f"in a batch of {len(part)}")
    return ""


def ignores_order(trial: Trial) -> str:
    """A prompt's components do not depend on its place."""
    order = np.random.default_rng(0).permutation(len(trial.rows)).tolist()
    trial.compare(trial.evaluate(order), order, "in another order")
    return ""


def ignores_company(trial: Trial) -> str:
    """Components do not depend on other detectors of the run, or on more noise samples."""
    detector, n, rows = trial.detector, trial.detector.n, trial.rows[:2]
    beside = [replace(one, n=n + 1) for one in shipped() if one.name in ("wen_5", "jeon")]
    more = [_drawing(detector, n + 1)] if n else []
    for company in ([detector, *beside], [*more, *beside, detector]):
        names = " and ".join(one.key for one in company if one is not detector)
        trial.compare(trial.evaluate(rows, company), rows, f"beside {names}")
    return ""


def costs_what_it_declares(trial: Trial) -> str:
    """NFE and directional derivatives of one prompt on its own are those of ``info``.

    A formula without k holds at default settings; other settings may evaluate less or more.
    """
    detector = trial.detector
    if _members(detector):
        return "what its members cost together"
    if detector.info is None:
        assert not trial.expected, "info, which declares the cost, is missing"
        return "no NFE"
    info = detector.info
    declares, where = f"{info.nfe} NFE" + f", {info.jvps} JVP" * (info.jvps != "0"), ""
    for n in {detector.n, detector.n + bool(detector.n)}:
        one = _drawing(detector, n)
        counted, declared = _counted(trial, one), info.counted(n, one.k)
        if counted != declared and "k" not in info.nfe + info.jvps:
            usual = _usual(one)
            if usual is not None and usual != one:
                where = " at default settings"
                counted, declared = _counted(trial, usual), info.counted(n, usual.k)
        assert counted == declared, (
            f"evaluates {counted[0]} NFE and {counted[1]} JVP for one prompt at n={n}, "
            f"k={one.k}{where}, and info declares {declared[0]} and {declared[1]}"
        )
    return declares + where


def rescores_from_the_store(trial: Trial) -> str:
    """Components suffice: what is written and read back gives the same scores."""
    detector, prompts = trial.detector, trial.place.prompts
    expected = detector.combine(trial.recorded)
    if not trial.expected:
        return "nothing to store"
    before = deepcopy(dict(trial.expected))
    detector.combine(trial.recorded)
    for name, values in before.items():
        same = np.array_equal(values, trial.expected[name], equal_nan=True)
        assert same, f"combine changes the recorded {name}"
    with TemporaryDirectory() as folder:
        store = ScoreStore(Path(folder) / "components", {"detector": detector.name})
        for rows in (trial.rows[:2], trial.rows[2:]):
            some = {name: values[rows] for name, values in trial.expected.items()}
            ids = [prompts.ids[i] for i in rows]
            store.append(ids, SEED, some, 1.0, Origin(64, "cpu", None, None))
        store.merge()
        samples = dict.fromkeys(detector.component_names, detector.n)
        components = arrays(store.read(), prompts.ids, SEED, samples)
    fresh = replace(detector)  # knows nothing of what was evaluated
    scores = fresh.combine(replace(trial.recorded, components=components))
    same = np.array_equal(scores, expected, equal_nan=True)
    assert same, "combine gives other scores from the store: a score may depend on it alone"
    return ""


def reads_no_labels(trial: Trial) -> str:
    """Scores do not depend on labels unless the detector says ``uses_labels``."""
    detector, recorded = trial.detector, trial.recorded
    own = type(detector).features is not Detector.features
    parts: dict[str, Callable[[Recorded], Array]] = {}
    if not detector.uses_labels:
        parts["combine"] = detector.combine
    if own or not detector.uses_labels:
        parts["features"] = detector.features
    labels = trial.place.prompts.labels
    for other in (1 - labels, np.roll(labels, 1), np.sort(labels)):
        changed = replace(recorded, prompts=replace(trial.place.prompts, labels=other))
        for name, part in parts.items():
            assert np.array_equal(part(recorded), part(changed), equal_nan=True), (
                f"{name} depends on labels"
                + " and uses_labels is not declared" * (name == "combine")
            )
    return "uses_labels" if detector.uses_labels else ""


def names_what_changes_it(trial: Trial) -> str:
    """Components of one name are one number, whatever the settings and whoever names them."""
    varied = set()
    for option, other in variants(trial.detector):
        try:
            names = {component.name for component in other.components(trial.place.model)}
            if shared := names & set(trial.expected):
                values = trial.evaluate(trial.rows, [other])
        except Exception:  # a setting that it refuses, in whatever way
            continue
        varied.add(option)
        if shared:
            trial.compare(values, trial.rows, f"with {option}={getattr(other, option)!r}")
    for other in shipped():
        shared = set(other.component_names) & set(trial.expected)
        if shared and type(other) is not type(trial.detector) and not _members(other):
            values = trial.evaluate(trial.rows, [replace(other, n=trial.detector.n)])
            trial.compare(values, trial.rows, f"as {other.name} names it")
    return f"varied {', '.join(sorted(varied))}" if varied else ""


def separates(trial: Trial) -> str:
    """The AUC on prompts of which half are memorized beyond doubt; said, not judged."""
    if not trial.place.closed:
        return "not asked of so few prompts"
    return f"{auc(trial.detector.combine(trial.recorded), trial.place.prompts.labels):.3f}"


CHECKS: Mapping[str, Callable[[Trial], str]] = {
    "info": declares_what_it_is,
    "components": records_what_it_names,
    "finite": is_finite,
    "deterministic": is_deterministic,
    "batches": ignores_batches,
    "order": ignores_order,
    "company": ignores_company,
    "cost": costs_what_it_declares,
    "store": rescores_from_the_store,
    "labels": reads_no_labels,
    "names": names_what_changes_it,
    "AUC": separates,
}


@dataclass(frozen=True)
class Finding:
    """What a check found on all models.

    Attributes:
        check: A key of :data:`CHECKS`, or ``models``.
        ok: Whether the rule is kept.
        detail: What was found, and where a model is refused, why.
    """

    check: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        return f"{verdict:6}  {self.check:13}  {self.detail}".rstrip()


def check(detector: Detector, on: Sequence[Place] | None = None) -> Iterator[Finding]:
    """Every finding about a detector, one after the other as they are made.

    Arguments:
        detector: The detector.
        on: The models; if not given, those of :func:`places`.
    """
    accepted, refused = trials(detector, places(detector) if on is None else on)
    names = [trial.place.name for trial in accepted] or ["none"]
    detail = [", ".join(names), *(f"refused: {place}: {why}" for place, why in refused.items())]
    yield Finding("models", bool(accepted), "; ".join(detail))
    for name, function in CHECKS.items():
        wrong: dict[str, list[str]] = {}
        found: dict[str, list[str]] = {}
        for trial in accepted:
            try:
                told = function(trial) or (function.__doc__ or "").partition("\n")[0]
                found.setdefault(told, []).append(trial.place.name)
            except AssertionError as error:
                wrong.setdefault(str(error), []).append(trial.place.name)
            except Exception as error:  # somebody's code, of which one line is wanted
                why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                wrong.setdefault(why, []).append(trial.place.name)
        detail = [
            text if len(where) == len(accepted) else f"{text} ({', '.join(where)})"
            for text, where in (wrong or found).items()
        ]
        if accepted:
            yield Finding(name, not wrong, "; ".join(detail))


def trials(detector: Detector, on: Sequence[Place]) -> tuple[list[Trial], dict[str, str]]:
    """The models that a detector works on, and why it refuses the others, by name."""
    accepted, refused = [], {}
    for place in on:
        trial = Trial(detector, place)
        try:
            _ = trial.expected
        except UserError as error:
            refused[place.name] = str(error)
            continue
        except Exception:  # each check says so
            pass
        accepted.append(trial)
    return accepted, refused


def variants(detector: Detector) -> Iterator[tuple[str, Detector]]:
    """The detector with one of its options changed: which, and the changed one."""
    for option in fields(detector):
        if option.name in ("name", "n", "members"):
            continue
        for value in _alternatives(detector, option.name):
            try:
                yield option.name, replace(detector, **{option.name: value})
            except Exception:  # a value that it refuses, in whatever way
                continue


def _alternatives(detector: Detector, option: str) -> list[Any]:
    """Other values of an option, by the kind of the one it has."""
    value = getattr(detector, option)
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [1.5 * value if value else 0.5]
        case str() if re.fullmatch(r"(step|t):-?[\d.]+", value):
            return [at for at in ("step:0", "step:1", "step:-2") if at != value]
        case str():
            try:
                replace(detector, **{option: "~"})
            except UserError as error:  # which names what there is: anisomem.errors.one_of
                _, _, known = str(error).rpartition("known: ")
                return [choice for choice in known.split(", ") if choice != value]
            return ["~"]
        case [first, *rest] if isinstance(first, int | float):
            return [[first + 1, *rest]]
    return []


def _members(detector: Detector) -> Sequence[Detector]:
    """Of a combination of detectors, which costs what they cost."""
    return getattr(detector, "members", ())


def _drawing(detector: Detector, n: int) -> Detector:
    """The detector at n noise samples, and so its members."""
    members = [replace(member, n=n) for member in _members(detector) if member.n]
    return replace(detector, n=n, **({"members": members} if members else {}))


def _usual(detector: Detector) -> Detector | None:
    """The detector with default settings at its n; None where a setting has no default."""
    try:
        return type(detector)(detector.name, detector.n)
    except TypeError:
        return None


def _counted(trial: Trial, detector: Detector) -> tuple[int, int]:
    """NFE and directional derivatives of the first prompt on its own."""
    model = trial.place.model
    before = model.nfe, model.jvps
    trial.evaluate(trial.rows[:1], [detector])
    return model.nfe - before[0], model.jvps - before[1]


@cache
def shipped() -> list[Detector]:
    """All built-in detectors, each with the fewest noise samples that it is configured with."""
    composed = config.cases([f"detector=[{','.join(config.names('detector'))}]"])[0]
    by_name: dict[str, Detector] = {}
    for detector in config.detectors(composed):
        by_name.setdefault(detector.name, detector)
    return list(by_name.values())


class DetectorConformance:
    """Every check as a test; subclass it in a test file and set ``detector``.

    Attributes:
        detector: The detector, an instance.
    """

    detector: ClassVar[Detector]
    _tried: ClassVar[tuple[list[Trial], dict[str, str]] | None] = None

    @classmethod
    def tried(cls) -> list[Trial]:
        """The models that the detector works on, evaluated once for all tests.

        Raises:
            AssertionError: It refuses every model.
        """
        if cls._tried is None:
            cls._tried = trials(cls.detector, places(cls.detector))
        accepted, refused = cls._tried
        assert accepted, f"refuses every model: {refused}"
        return accepted


def _test(function: Callable[[Trial], str]) -> Callable[[DetectorConformance], None]:
    def test(self: DetectorConformance) -> None:
        for trial in self.tried():
            try:
                function(trial)
            except AssertionError as error:
                raise AssertionError(f"{trial.place.name}: {error}") from None

    test.__doc__ = function.__doc__
    return test


for _name, _function in CHECKS.items():
    setattr(DetectorConformance, f"test_{_name.lower()}", _test(_function))
