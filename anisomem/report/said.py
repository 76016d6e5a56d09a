"""What a page says in words before its tables, and where its numbers come from.

The numbers are the table's own; pairs are from ``compared``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from anisomem.benchmark.results import Results
from anisomem.detection.base import Detector
from anisomem.evaluation import NOT_SEPARABLE, Estimate, resolution_note
from anisomem.report.compared import Compared, Statistic, at_largest_n
from anisomem.report.tables import interval_text, percent

NAMED = 5  # detectors that a sentence lists
LONGEST = 200  # characters of what a stored run says of itself
Facts = list[tuple[str, str]]  # what it is called, and what it is


def sentences(results: Results, pairs: Compared | None) -> list[str]:
    """Prompts, the best by each statistic and what is not separable from it, and the controls.

    Arguments:
        results: The results of the complete case.
        pairs: Every pair of its detectors at their largest n; None where there are none.
    """
    labels = results.prompts.labels
    lines = [f"{(labels == 1).sum()} memorized and {(labels == 0).sum()} other prompts."]
    if pairs:
        lines += [_best(results, pairs, statistic) for statistic in pairs.statistics()]
        target = pairs.target
    else:
        detector = results.detectors[0]
        lines.append(f"{named(detector)} has an AUC of {_text(results, detector, None)}.")
        target = results.config.fpr_targets[0]
    resolved = results.evaluated.resolvable(target)
    if not resolved:
        note = resolution_note(target, results.evaluated.n_negative)
        lines.append(f"TPR@{percent(target)}FPR: {note}.")
    if controls := [d for d in at_largest_n(results.detectors) if not d.sees_model]:
        lines.append(_controls(results, controls, target if resolved else None))
    return lines


def named(detector: Detector) -> str:
    """A detector in a sentence."""
    return f"{detector.name} (n={detector.n})" if detector.n else detector.name


def _best(results: Results, pairs: Compared, statistic: Statistic) -> str:
    values = statistic.values
    best = max(range(len(values)), key=lambda d: values[d])
    equal = [
        pair.a + pair.b - best
        for pair in pairs.pairs
        if best in (pair.a, pair.b) and statistic.verdict(pair) == NOT_SEPARABLE
    ]
    equal.sort(key=lambda d: -values[d])
    target = None if statistic.name == "AUC" else pairs.target
    number = _text(results, pairs.detectors[best], target)
    begin = f"Best by {statistic.name}, each detector at its largest n: "
    begin += f"{named(pairs.detectors[best])}, {number}; "
    if not equal:
        return f"{begin}every other one is separably worse."
    names = ", ".join(named(pairs.detectors[d]) for d in equal[:NAMED])
    more = f" and {len(equal) - NAMED} more" if len(equal) > NAMED else ""
    return f"{begin}not separable from it: {names}{more}."


def _controls(results: Results, controls: Sequence[Detector], target: float | None) -> str:
    reached = []
    for name, at in (("an AUC", None), *([("a TPR", target)] if target is not None else [])):
        best = max(controls, key=lambda d: _estimate(results, d, at).value)
        rate = "" if at is None else f"@{percent(at)}FPR"
        reached.append(f"{name}{rate} of {_text(results, best, at)} ({best.name})")
    return f"The controls, which never see the model, reach at most {' and '.join(reached)}."


def _estimate(results: Results, detector: Detector, target: float | None) -> Estimate:
    keys = [one.key for one in results.detectors]
    summary = results.evaluated.summaries()[keys.index(detector.key)]
    estimate = summary.auc if target is None else summary.tpr[target]
    assert estimate is not None  # where a target is resolved it is for all
    return estimate


def _text(results: Results, detector: Detector, target: float | None) -> str:
    """A number as the table has it."""
    return interval_text(_estimate(results, detector, target))


def facts(results: Results) -> Facts:
    """Which model, prompts and noise a case is of, and where and with what it was recorded."""
    made = results.measured.provenance
    content = results.case.content
    earlier = made.get("earlier")
    recorded = [*(earlier if isinstance(earlier, list) else []), made]
    noise = any(detector.draws_noise for detector in results.configured)
    folder = str(content["model"].get("path", ""))
    digest = f"folder, sha256 {folder[:16]}" if re.fullmatch("[0-9a-f]{64}", folder) else ""
    found: list[tuple[str, Any]] = [
        ("Model", _joined(results.model, made.get("repository"))),
        ("Revision", made.get("revision") or digest),
        ("Prompts", _joined(results.name, f"sha256 {str(content['prompts'])[:16]}")),
        ("Noise", f"seed {', '.join(map(str, results.config.seeds))}" if noise else ""),
        ("Recorded", "; then ".join(_conditions(one) for one in recorded)),
    ]
    return [(name, str(value)[:LONGEST]) for name, value in found if value]


def _conditions(made: Mapping[str, Any]) -> str:
    """The day, the machine and the versions of one recording."""
    packages = made.get("packages")
    packages = packages if isinstance(packages, dict) else {}
    versions = [f"{name} {packages[name]}" for name in ("anisomem", "torch") if name in packages]
    commit = str(made.get("git_commit") or "")[:10]
    text = _joined(made.get("date"), made.get("device_name"), made.get("dtype"), *versions)
    return text + (f", commit {commit}" if commit else "")


def written(command: str) -> Facts:
    """When a page was written, by which version and which command.

    Arguments:
        command: As it was typed; "" where it was none.
    """
    # The convention of reproducible builds: the same page from the same numbers.
    stamp = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(stamp), UTC) if stamp.isdigit() else datetime.now(UTC)
    lines = [("Page written", f"{now:%Y-%m-%d}, anisomem {version('anisomem')}")]
    return [*lines, ("Command", command)] if command else lines


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
