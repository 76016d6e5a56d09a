"""``anisomem mitigate``: what every mitigation changes, and what it costs.

The pictures, their measures and the tables are :mod:`anisomem.tradeoff`.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, overrides, typed
from anisomem.config import catalog


@click.command(
    "mitigate",
    cls=Command,
    short_help="Measure what every mitigation changes and costs.",
    settings=[
        "experiment",
        "model",
        "dataset",
        "mitigation",
        "measure",
        "trial.memorized",
        "trial.others",
        "trial.steps",
        "trial.guidance",
        "dry_run",
        "runs",
    ],
    usual={"experiment": catalog.MITIGATE},
    examples=[
        "anisomem mitigate",
        "anisomem mitigate experiment=mitigation_sd14 dry_run=true",
        "anisomem mitigate 'mitigation=[none,wen]' trial.memorized=8 trial.others=8",
    ],
)
@overrides("Settings of the trial; conf/config.yaml has all of them.")
def command(overrides: Sequence[str]) -> int:
    """Sample prompts with every mitigation and measure what it costs.

    The same command again continues what was interrupted.
    """
    from anisomem.tradeoff.command import mitigate

    return mitigate(overrides, typed())
