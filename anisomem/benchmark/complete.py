"""Brings a case to its end: records what is missing, counts and times, draws the gallery.

Each of these steps has a file of its own, ``record``, ``costs`` and ``gallery``. Here is their
order, and what is done again after a change of settings.
"""

from __future__ import annotations

import glob
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from anisomem.benchmark import gallery
from anisomem.benchmark.case import Case
from anisomem.benchmark.results import MEASURED, Results
from anisomem.console import progress
from anisomem.datasets import kept
from anisomem.errors import UserError
from anisomem.models.capability import Capability
from anisomem.run import labelled, sharing
from anisomem.run.base import PROMPTS
from anisomem.run.devices import require_trained
from anisomem.storage import atomic, digests
from anisomem.storage.store import IDENTITY, ScoreStore

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class Completed:
    """A case that is complete.

    Attributes:
        results: What is made of it, and what has been read for it already.
        worked: Whether there was something to do.
    """

    results: Results
    worked: bool


def complete(case: Case, model: DiffusionModel | None = None) -> Completed:
    """Records what is missing and measures the cost once; nothing to do loads no model.

    Arguments:
        case: What is asked.
        model: Its model, where it is loaded already.

    Raises:
        UserError: Too few prompts of a class, a model of random weights, or one that returned NaN
            or infinity without any prompt.
    """
    memorized = int(case.prompts.labels.sum())
    labelled.require_both(case.name, memorized, len(case.prompts) - memorized)
    require_trained(case.config, "scores")
    if earlier := case.earlier_folder:
        os.replace(earlier, case.folder)
        case.store.start()
    with progress.phase(f"{case.name}: reading what is recorded", brief=True):
        results = Results(case)
        missing = case.missing(results.frame, retry=case.config.on_failure == "retry")
    before, timing = results.measured, _timing(case)
    timed = before.timing == timing
    needs_timing = case.config.timing_repeats > 0 and bool(case.samples) and not timed
    finished = not missing and not needs_timing and bool(before) and gallery.is_as_asked(results)
    try:
        for folder in (case.folder, case.folder.parent):
            atomic.remove_abandoned(folder)
        _say_what_changed(case)
        case.keep_settings()
        kept.write(case.prompts, case.folder / PROMPTS)
        case.store.start()
    except atomic.CannotWriteError as error:
        if not finished or not error.forbidden:
            raise
    if finished:
        return Completed(_counted(case, results), worked=False)
    with progress.phase(f"{case.name}: load"):
        sharing.prepare(case.config, len(missing))
        from anisomem.benchmark.costs import measure
        from anisomem.benchmark.record import record
        from anisomem.engine.counting import counts_of_each
        from anisomem.run.provenance import continued, provenance

        begin = perf_counter()
        model = model or sharing.loaded(case.config)
        if case.config.gallery:
            model.require(Capability.PICTURES, "the report's gallery shows some; give gallery=0")
    used = record(case, model, missing) if missing else {}
    case.store.merge()
    measured = before
    if missing or not measured:
        measured = replace(
            measured,
            wall_seconds=(measured.wall_seconds or 0) + perf_counter() - begin,
            truncated_prompts=model.truncated(case.prompts.texts),
            provenance=continued(before.provenance, provenance(model) | used),
        )
    if needs_timing:
        costs, on = measure(case, model), provenance(model)
        measured = replace(measured, costs=costs, timing=timing, timed_on=on)
    elif not timed:
        counted = counts_of_each(case.configured, case.config.noise_policy)
        measured = replace(measured, costs=counted, timing={}, timed_on={})
    measured.write(case.folder / MEASURED)
    with progress.phase(f"{case.name}: reading what is recorded", brief=True):
        results = Results(case)
        lacks_gallery = not gallery.is_as_asked(results)
    if lacks_gallery:
        gallery.generate(results, model)
    return Completed(results, worked=True)


def _counted(case: Case, results: Results) -> Results:
    """The results of a finished case, with the costs of detectors that it had not then."""
    before = results.measured
    lacking = [d for d in case.configured if d.cost_key and d.cost_key not in before.costs]
    if not lacking:
        return results
    from anisomem.engine.counting import counts_of_each

    more = counts_of_each(lacking, case.config.noise_policy)
    with suppress(atomic.CannotWriteError):  # in a folder that may only be read
        replace(before, costs={**before.costs, **more}).write(case.folder / MEASURED)
    return Results(case)


def _timing(case: Case) -> dict[str, Any]:
    """What the costs depend on besides the machine; other settings are measured anew."""
    config = case.config
    return {
        "repeats": config.timing_repeats,
        "threads": 1,
        "batch_size": config.batch_size,
        "noise_policy": config.noise_policy,
        "device": config.model.get("device"),
        "detectors": [d.cost_key for d in case.configured if d.cost_key],
    }


def _say_what_changed(case: Case) -> None:
    """Names the code of the user's that an earlier run of the same was recorded with."""
    if not case.content.get("sources") or case.store.folder.exists():
        return
    for file in case.folder.parent.glob(f"{glob.escape(case.name)}-*/components/{IDENTITY}"):
        try:
            store = ScoreStore.stored(file.parent)
        except UserError:
            continue  # not this run's to complain about
        differ = digests.differences(store.content, case.store.content)
        if all(name.startswith("sources") for name in differ):
            names = ", ".join(name.removeprefix("sources.") for name in differ)
            print(
                f"anisomem: {names} has changed since {store.folder.parent} was recorded; it is "
                f"recorded anew in {case.folder}",
                file=sys.stderr,
            )
