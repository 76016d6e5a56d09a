"""Records what a scan lacks, one stage after the other; nothing to do loads no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING

from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import MEASURED
from anisomem.console.progress import phase
from anisomem.models.capability import Capability
from anisomem.scan import leaks, pictures, training
from anisomem.scan.found import Found
from anisomem.scan.scan import Scan, Stage
from anisomem.storage import atomic

if TYPE_CHECKING:
    from anisomem.measures.base import Vectors
    from anisomem.models.base import DiffusionModel

TOKENISED = 10_000  # prompts at a time


def complete(scan: Scan) -> Found:
    """What a scan has found, recorded where it was not.

    Raises:
        UserError: A model that returned NaN or infinity without any prompt.
    """
    for folder in (scan.folder, scan.folder.parent):
        atomic.remove_abandoned(folder)

    @cache
    def model() -> DiffusionModel:
        from anisomem.run import sharing

        with phase(f"{scan.name}: load"):
            return sharing.loaded(scan.config)

    @cache
    def measure() -> Vectors:
        return training.started(scan.config)

    if scan.training and not leaks.kept(scan):  # what lacks is said before anything is recorded
        with phase(f"{scan.name}: what compares pictures", brief=True):
            measure()
            leaks.require_readable(scan.training)
    _record(scan, scan.first, model)
    found = Found(scan)
    if found.second:
        _record(scan, found.second, model)
    if pictures.rows(found) and pictures.read(found) is None:
        model().require(
            Capability.PICTURES, "the page shows some of flagged prompts; give gallery=0"
        )
        pictures.generate(found, model())
    if scan.training and pictures.rows(found) and leaks.read(found) is None:
        leaks.find(found, measure())
    return found


def _record(scan: Scan, stage: Stage, model: Callable[[], DiffusionModel]) -> None:
    """Records what a stage lacks, and how."""
    with phase(f"{scan.name}: reading what is recorded", brief=True):
        missing = stage.missing(retry=scan.config.on_failure == "retry")
    if not missing:
        return
    scan.keep_settings()
    stage.store.start()
    from anisomem.benchmark.record import record
    from anisomem.run.provenance import continued, provenance

    begin = perf_counter()
    used = record(stage, model(), missing)
    stage.store.merge()
    before = Measured.read(scan.folder / MEASURED)
    measured = replace(
        before,
        wall_seconds=(before.wall_seconds or 0) + perf_counter() - begin,
        truncated_prompts=sum(
            model().truncated(scan.listed.texts[begin : begin + TOKENISED])
            for begin in range(0, len(scan.listed.texts), TOKENISED)
        ),
        provenance=continued(before.provenance, provenance(model()) | used),
    )
    measured.write(scan.folder / MEASURED)
