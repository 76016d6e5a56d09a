"""``anisomem mitigate``: samples, measures and reports what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anisomem import config as configuration
from anisomem.errors import UserError
from anisomem.tradeoff.measuring import measure
from anisomem.tradeoff.results import Results
from anisomem.tradeoff.trial import Trial

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

DEFAULT = "mitigation_testbed"


def mitigate(overrides: Sequence[str]) -> str:
    """Runs what the overrides choose, or continues it; what is to be printed.

    Arguments:
        overrides: As on the command line.

    Raises:
        UserError: Settings that are wrong, or prompts that the model failed on.
    """
    chosen = [o.partition("=")[2] for o in overrides if o.startswith("experiment=")]
    experiment = chosen[-1] if chosen else DEFAULT
    given = overrides if chosen else [f"experiment={DEFAULT}", *overrides]
    configs = configuration.cases(given)
    configuration.require_chosen(configs[0], "mitigation")
    if configs[0].dry_run:
        from anisomem.tradeoff.plan import plan

        return plan(configs, experiment).markdown()
    trials = [Trial(config, experiment) for config in configs]
    for trial in trials:
        _sample(trial)
        measure(trial)
    from anisomem.tradeoff import report

    folder = trials[0].folder.parent
    text = report.write([Results(trial) for trial in trials], folder)
    return f"{text}\nReport: {folder}/ (tables, figures; pictures in a folder per model)"


def _sample(trial: Trial) -> None:
    if trial.config.model.get("weights") == "random":
        raise UserError("weights=random is for anisomem bench; pictures need weights=pretrained")
    trial.sampled.start()
    if not (tasks := trial.missing()):
        return
    from anisomem.tradeoff.sampling import sample

    model: DiffusionModel = configuration.build(trial.config.model, "model")
    sample(trial, model, tasks)
