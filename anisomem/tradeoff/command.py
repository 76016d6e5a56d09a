"""``anisomem mitigate``: samples, measures and reports what is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from anisomem import config as configuration
from anisomem import labelled
from anisomem.errors import UserError
from anisomem.models.capability import Capability
from anisomem.overrides import experiment
from anisomem.progress import phase
from anisomem.tradeoff.measuring import measure, start
from anisomem.tradeoff.results import Results
from anisomem.tradeoff.trial import Trial

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

DEFAULT = "mitigation_testbed"


def mitigate(overrides: Sequence[str]) -> int:
    """Runs what the overrides choose, or continues it, prints its tables; the exit code.

    Arguments:
        overrides: As on the command line.

    Raises:
        UserError: Settings that are wrong.
    """
    given = overrides if experiment(overrides) else [f"experiment={DEFAULT}", *overrides]
    with phase("reading the configuration", brief=True):
        configs = labelled.judged(given)
    name = labelled.run_name(overrides, configs, DEFAULT, "-mitigation")
    configuration.require_chosen(configs[0], "mitigation")
    if configs[0].dry_run:
        from anisomem.tradeoff.plan import plan

        print(plan(configs, name).markdown())
        return 0
    with phase("reading the prompts and what is sampled", brief=True):
        trials = [Trial(config, name) for config in configs]
    with phase("loading what measures need"):
        for trial in trials:
            start(trial)
    for trial in trials:
        _sample(trial)
        measure(trial)
    if any(_failed(trial) for trial in trials):
        return 1
    from anisomem.tradeoff import report

    folder = trials[0].folder.parent
    with phase("estimating and drawing"):
        text = report.write([Results(trial) for trial in trials], folder)
    print(text)
    print(f"Report: {folder}/ (tables, figures; pictures in a folder per model)")
    return 0


def _failed(trial: Trial) -> bool:
    """Whether the model failed on prompts and the user did not allow it, which is said."""
    failures = trial.failures()
    if not failures or trial.config.on_failure == "keep":
        return False
    row, reason = next(iter(failures.items()))
    print(
        f"anisomem: {trial.name}: {len(failures)} of {len(trial.planned)} prompts failed, first "
        f"{trial.planned.ids[row]!r} ({reason}); on_failure=keep makes the table without them, "
        "on_failure=retry samples them again",
        file=sys.stderr,
    )
    return True


def _sample(trial: Trial) -> None:
    if trial.config.model.get("weights") == "random":
        raise UserError("weights=random is for anisomem bench; pictures need weights=pretrained")
    trial.sampled.start()
    if not (tasks := trial.missing()):
        return
    from anisomem.tradeoff.sampling import sample

    with phase(f"{trial.name}: loading the model"):
        model: DiffusionModel = configuration.build(trial.config.model, "model")
    model.require(Capability.PICTURES, "what a mitigation changes is judged by them")
    sample(trial, model, tasks)
