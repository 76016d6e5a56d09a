"""Measures what is missing of a trial's pictures.

The measures are :mod:`anisomem.measures`; the pictures are made in ``sampling``.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from time import perf_counter

import numpy as np

from anisomem.console import progress
from anisomem.measures.base import Generated, Measure
from anisomem.run import devices
from anisomem.run.provenance import git_commit
from anisomem.storage.store import Origin, ScoreStore
from anisomem.tradeoff.settings import Setting
from anisomem.tradeoff.trial import Trial

SHARD = 64  # prompts measured between two writes to the store

Pair = tuple[Setting, int]  # with the row of a prompt


def start(trial: Trial) -> None:
    """Loads what measures need that have something to do, so that mistakes cost no sampling."""
    for one in trial.measures:
        if missing(trial, one, trial.measured(one), failed=()):
            one.start(trial.references, _device(trial))


def measure(trial: Trial) -> None:
    """Asks every measure, once started, about every picture that it has not seen.

    Those that sample once more are asked in ``retriggering``.
    """
    for one in (one for one in trial.measures if not one.searches):
        store = trial.measured(one)
        if tasks := missing(trial, one, store, trial.failures()):
            _measure(trial, one, store, tasks)


def missing(trial: Trial, one: Measure, store: ScoreStore, failed: Container[int]) -> list[Pair]:
    """The prompts, with their settings, that a measure has not seen.

    Arguments:
        trial: The trial whose pictures are measured.
        one: The measure that is asked.
        store: The measure's store.
        failed: Prompts whose pictures show nothing, and may be sampled again.
    """
    done = set(store.read()["prompt_id"])
    return [
        (setting, row)
        for setting in trial.settings
        for row in trial.rows_of(one)
        if row not in failed and trial.key(setting, row) not in done
    ]


def _measure(trial: Trial, one: Measure, store: ScoreStore, tasks: list[Pair]) -> None:
    origin = Origin(1, _device(trial), git_commit(Path(__file__).parent), None)
    with progress.bar(f"{trial.name}: {one.name}", len(tasks), "prompt") as bar:
        for begin in range(0, len(tasks), SHARD):
            some, start = tasks[begin : begin + SHARD], perf_counter()
            measured = []
            for setting, row in some:
                measured.append(one(generated(trial, setting, row)))
                bar.update()
            columns = {
                name: np.stack([values[name] for values in measured]) for name in measured[0]
            }
            keys = [trial.key(setting, row) for setting, row in some]
            store.append(keys, trial.seeds[0], columns, perf_counter() - start, origin)
    store.merge()


def _device(trial: Trial) -> str:
    """Where measures compute: where the model does in this process."""
    return devices.first(trial.config) or str(trial.config.model.get("device", "cpu"))


def generated(trial: Trial, setting: Setting, row: int) -> Generated:
    """The pictures of a prompt with a setting, and without a mitigation."""
    prompts = trial.prompts
    return Generated(
        prompts.ids[row],
        prompts.texts[row],
        trial.pictures(setting, row),
        trial.pictures(trial.plain, row),
    )
