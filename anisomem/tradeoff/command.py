"""``anisomem mitigate``: samples, measures and reports what is missing.

The steps are in ``sampling``, ``measuring`` and ``report``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anisomem.config import catalog, compose
from anisomem.config.overrides import experiment
from anisomem.console.progress import phase
from anisomem.errors import UserError
from anisomem.measures.retrigger import Retrigger
from anisomem.models.capability import Capability
from anisomem.run import labelled
from anisomem.run.devices import require_trained
from anisomem.storage import atomic, digests
from anisomem.tradeoff.measuring import measure, missing, start
from anisomem.tradeoff.results import TradeoffResults
from anisomem.tradeoff.trial import Trial

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

SOURCES = "sources.json"  # of a trial: digests of code of the user's, by what it is of


def mitigate(overrides: Sequence[str], command: str = "") -> int:
    """Runs what the overrides choose, or continues it, prints its tables; the exit code.

    Arguments:
        overrides: The words of the command line.
        command: The whole command as it was typed; "" where none was.

    Raises:
        UserError: Settings that are wrong.
    """
    given = overrides if experiment(overrides) else [f"experiment={catalog.MITIGATE}", *overrides]
    with phase("reading the configuration", brief=True):
        configs = labelled.judged(given)
    name = labelled.run_name(overrides, configs, catalog.MITIGATE, "-mitigation")
    compose.require_chosen(configs[0], "mitigation")
    if configs[0].dry_run:
        from anisomem.tradeoff.plan import plan

        print(plan(configs, name).printed_turned())
        return 0
    with phase("reading the prompts and what is sampled", brief=True):
        trials = [Trial(config, name) for config in configs]
    with phase("loading what measures need"):
        for trial in trials:
            start(trial)
    for trial in trials:
        if earlier := trial.earlier_folder:
            print(
                f"anisomem: {earlier} is of an earlier version, whose pictures and numbers have "
                f"other names; all is made anew in {trial.folder}",
                file=sys.stderr,
            )
        say_what_changed(trial)
        model = _sample(trial)
        measure(trial)
        _search(trial, model)
    if any(_failed(trial) for trial in trials):
        return 1
    from anisomem.tradeoff import report

    folder = trials[0].folder.parent
    with phase("estimating and drawing"):
        text = report.write([TradeoffResults(trial) for trial in trials], folder, command)
    print(text)
    print(f"Report: {folder}/ (tables, figures; pictures in a folder per model)")
    return 0


def say_what_changed(trial: Trial) -> None:
    """Names the code of the user's that an earlier run of the same trial was made with."""
    now = trial.sources()
    before: dict[str, Any] = {}
    file = trial.folder / SOURCES
    if file.exists():
        with suppress(UserError):  # a damaged one has nothing to say
            before = atomic.read_json(file)
    for what, sources in now.items():
        known = before.get(what)
        differ = digests.differences(known, sources) if isinstance(known, dict) else []
        if differ:
            print(
                f"anisomem: {', '.join(differ)} has changed since {trial.folder} was made; what "
                f"{what} gives is made anew",
                file=sys.stderr,
            )
    if before != {**before, **now}:
        atomic.write_text(file, json.dumps({**before, **now}, indent=1))


def _failed(trial: Trial) -> bool:
    """Whether the model failed on prompts and the user did not allow it, which is said."""
    failures = trial.failures()
    if not failures or trial.config.on_failure == "keep":
        return False
    row, reason = next(iter(failures.items()))
    print(
        f"anisomem: {trial.name}: {len(failures)} of {len(trial.prompts)} prompts failed, first "
        f"{trial.prompts.ids[row]!r} ({reason}); on_failure=keep makes the table without them, "
        "on_failure=retry samples them again",
        file=sys.stderr,
    )
    return True


def _sample(trial: Trial) -> DiffusionModel | None:
    """Samples what is missing; the model, if it was needed."""
    require_trained(trial.config, "pictures")
    trial.sampled.start()
    if not (tasks := trial.missing()):
        return None
    from anisomem.run import sharing
    from anisomem.tradeoff.sampling import sample

    with phase(f"{trial.name}: loading the model"):
        model = sharing.loaded(trial.config)
    model.require(Capability.PICTURES, "what a mitigation changes is judged by them")
    for one in trial.measures:
        one.require(model)
    sample(trial, model, tasks)
    return model


def _search(trial: Trial, model: DiffusionModel | None) -> None:
    """Asks the measures that sample once more about what they have not seen."""
    for one in (one for one in trial.measures if isinstance(one, Retrigger)):
        store = trial.measured(one)
        if not (tasks := missing(trial, one, store, trial.failures())):
            continue
        from anisomem.run import sharing
        from anisomem.tradeoff.retriggering import retrigger

        if model is None:
            with phase(f"{trial.name}: loading the model"):
                model = sharing.loaded(trial.config)
        retrigger(trial, one, store, tasks, model)
        store.merge()
