"""The rules, each a function of an examination: of one detector on one model.

It returns what it found, "" if there is nothing to add to what it says it checks.

Raises:
    AssertionError: The rule is broken; how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from anisomem.conformance.examination import SEED, Examination
from anisomem.conformance.variants import drawing, members, shipped, usual, variants
from anisomem.detection.base import Array, Cost, Detector, Recorded
from anisomem.evaluation.curves import auc
from anisomem.storage.store import Origin, ScoreStore, arrays

PLACEHOLDERS = ("", "...", "TODO", "FIXME", "?")


def declares_what_it_is(exam: Examination) -> str:
    """``info`` is filled in; a detector that reads nothing of the model needs none."""
    detector = exam.detector
    info = detector.info
    if parts := members(detector):
        return f"a combination of {', '.join(member.name for member in parts)}"
    if info is None:
        assert not detector.component_names, "info is missing; see anisomem.detection.base.Info"
        return "reads nothing of the model"
    paper = info.paper
    told = {"paper.title": paper.title, "paper.authors": paper.authors, "paper.venue": paper.venue}
    for name, value in (told | {"reads": info.reads, "quantity": info.quantity}).items():
        assert value.strip() not in PLACEHOLDERS, f"info.{name} is to be filled in, got {value!r}"
    assert paper.year >= 1900, f"info.paper.year is to be filled in, got {paper.year}"
    return paper.cited


def records_for_each_sample(exam: Examination) -> str:
    """A component is one number for each prompt and noise sample."""
    for name, values in exam.expected.items():
        shape = len(exam.rows), exam.detector.n
        assert values.shape == shape, f"{name} has shape {values.shape}, expected {shape}"
    count = len(exam.expected)
    return f"{count} component{'s' * (count != 1)}"


def is_finite(exam: Examination) -> str:
    """Components and scores are numbers, one score for each prompt."""
    for name, values in exam.expected.items():
        bad = ~np.isfinite(values).all(axis=1)
        assert not bad.any(), (
            f"{name} is {values[bad][0]} for {exam.setup.prompts.texts[int(bad.argmax())]!r}"
        )
    scores = np.asarray(exam.scores)
    n = len(exam.rows)
    assert scores.shape == (n,), f"combine returns shape {scores.shape} for {n} prompts"
    assert np.isfinite(scores).all(), "combine returns NaN or infinity from finite components"
    return ""


def is_deterministic(exam: Examination) -> str:
    """Equal noise seeds give equal numbers, to the last bit."""
    again = exam.evaluate(exam.rows)
    for name, values in exam.expected.items():
        same = np.array_equal(values, again[name], equal_nan=True)
        assert same, f"{name} differs between two runs of the same seed"
    first, second = (exam.detector.combine(exam.recorded) for _ in range(2))
    assert np.array_equal(first, second, equal_nan=True), "combine differs between two calls"
    return ""


def ignores_batches(exam: Examination) -> str:
    """A prompt's components do not depend on the prompts beside it."""
    for part in (exam.rows[:1], exam.rows[1:]):
        exam.compare(exam.evaluate(part, batch_size=3), part, f"in a batch of {len(part)}")
    return ""


def ignores_order(exam: Examination) -> str:
    """A prompt's components do not depend on its place."""
    order = np.random.default_rng(0).permutation(len(exam.rows)).tolist()
    exam.compare(exam.evaluate(order), order, "in another order")
    return ""


def ignores_company(exam: Examination) -> str:
    """Components do not depend on other detectors of the run, or on more noise samples."""
    detector, n, rows = exam.detector, exam.detector.n, exam.rows[:2]
    beside = [replace(one, n=n + 1) for one in shipped() if one.name in ("wen_5", "jeon_5")]
    more = [drawing(detector, n + 1)] if n else []
    for company in ([detector, *beside], [*more, *beside, detector]):
        names = " and ".join(one.key for one in company if one is not detector)
        exam.compare(exam.evaluate(rows, company), rows, f"beside {names}")
    return ""


def costs_what_it_declares(exam: Examination) -> str:
    """``cost()`` is what one prompt on its own evaluates, at default settings if not at others."""
    detector = exam.detector
    if members(detector):
        return "what its members cost together"
    where = ""
    for n in {detector.n, detector.n + bool(detector.n)}:
        one = drawing(detector, n)
        counted, default = _counted(exam, one), usual(one)
        if counted != one.cost() and default is not None and default != one:
            where = " at default settings"
            one, counted = default, _counted(exam, default)
        assert counted == one.cost(), (
            f"evaluates {counted.nfe} NFE and {counted.jvps} JVP for one prompt at n={n}{where}, "
            f"and cost() declares {one.cost().nfe} and {one.cost().jvps}"
        )
    cost = detector.cost()
    return f"{cost.nfe} NFE" + f", {cost.jvps} JVP" * (cost.jvps > 0) + where


def rescores_from_the_store(exam: Examination) -> str:
    """Components suffice: what is written and read back gives the same scores."""
    detector, prompts = exam.detector, exam.setup.prompts
    if not exam.expected:
        return "nothing to store"
    before = deepcopy(dict(exam.expected))
    detector.combine(exam.recorded)
    for name, values in before.items():
        same = np.array_equal(values, exam.expected[name], equal_nan=True)
        assert same, f"combine changes the recorded {name}"
    with TemporaryDirectory() as folder:
        store = ScoreStore(Path(folder) / "components", {"detector": detector.name})
        for rows in (exam.rows[:2], exam.rows[2:]):
            some = {name: values[rows] for name, values in exam.expected.items()}
            ids = [prompts.ids[i] for i in rows]
            store.append(ids, SEED, some, 1.0, Origin(64, "cpu", None, None))
        store.merge()
        samples = dict.fromkeys(detector.component_names, detector.n)
        components = arrays(store.read(), prompts.ids, SEED, samples)
    fresh = replace(detector)  # knows nothing of what was evaluated
    scores = fresh.combine(replace(exam.recorded, components=components))
    same = np.array_equal(scores, exam.scores, equal_nan=True)
    assert same, "combine gives other scores from the store: a score may depend on it alone"
    return ""


def reads_no_labels(exam: Examination) -> str:
    """Scores do not depend on labels unless the detector says ``uses_labels``."""
    detector, recorded = exam.detector, exam.recorded
    own = type(detector).features is not Detector.features
    parts: dict[str, Callable[[Recorded], Array]] = {}
    if not detector.uses_labels:
        parts["combine"] = detector.combine
    if own or not detector.uses_labels:
        parts["features"] = detector.features
    labels = exam.setup.prompts.labels
    for other in (1 - labels, np.roll(labels, 1), np.sort(labels)):
        changed = replace(recorded, prompts=replace(exam.setup.prompts, labels=other))
        for name, part in parts.items():
            assert np.array_equal(part(recorded), part(changed), equal_nan=True), (
                f"{name} depends on labels"
                + " and uses_labels is not declared" * (name == "combine")
            )
    return "uses_labels" if detector.uses_labels else ""


def names_what_changes_it(exam: Examination) -> str:
    """Components of one name are one number, whatever the settings and whoever names them."""
    varied = set()
    for option, other in variants(exam.detector):
        try:
            shared = set(other.component_names) & set(exam.expected)
            if shared:
                values = exam.evaluate(exam.rows, [other])
        except Exception:  # a setting that it refuses, in whatever way
            continue
        varied.add(option)
        if shared:
            exam.compare(values, exam.rows, f"with {option}={getattr(other, option)!r}")
    for other in shipped():
        shared = set(other.component_names) & set(exam.expected)
        if other.compares_models and exam.setup.model.baseline is None:
            continue
        if shared and type(other) is not type(exam.detector) and not members(other):
            values = exam.evaluate(exam.rows, [replace(other, n=exam.detector.n)])
            exam.compare(values, exam.rows, f"as {other.name} names it")
    return f"varied {', '.join(sorted(varied))}" if varied else ""


def separates(exam: Examination) -> str:
    """The AUC on prompts of which half are memorized beyond doubt; said, not judged."""
    if not exam.setup.closed:
        return "not asked of so few prompts"
    return f"{auc(exam.scores, exam.setup.prompts.labels):.3f}"


def _counted(exam: Examination, detector: Detector) -> Cost:
    """NFE and directional derivatives of the first prompt on its own."""
    model = exam.setup.model
    before = model.counted
    exam.evaluate(exam.rows[:1], [detector])
    after = model.counted
    return Cost(after[0] - before[0], after[1] - before[1])


CHECKS: Mapping[str, Callable[[Examination], str]] = {
    "info": declares_what_it_is,
    "components": records_for_each_sample,
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
