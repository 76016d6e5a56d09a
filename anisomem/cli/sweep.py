"""``anisomem sweep``: one setting's values, recorded once and scored all.

What each sweep records and draws is in :mod:`anisomem.sweep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from anisomem.cli import completion
from anisomem.cli.command import Command, Named, overrides, typed
from anisomem.cli.outcome import failed, show_plan, warn
from anisomem.console.progress import phase
from anisomem.errors import concerning

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Sweep(Named):
    """The name of a sweep; :func:`anisomem.sweep.command.composed` checks it."""

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        from anisomem.sweep.command import SWEEPS

        return completion.items(name for name in SWEEPS if name.startswith(incomplete))


@click.command(
    "sweep",
    cls=Command,
    short_help="Record once what a setting's values need, and score all.",
    settings=["experiment", "model", "dataset", "limit", "draws", "dry_run", "runs"],
    examples=[
        "anisomem sweep gamma",
        "anisomem sweep timesteps experiment=table1_sd14 dry_run=true",
    ],
)
@click.argument(
    "name", metavar="SWEEP", type=_Sweep(), help="What varies, e.g. gamma; docs/sweeps.md has all."
)
@overrides("As of anisomem run; a sweep chooses its detectors.")
def command(name: str, overrides: Sequence[str]) -> int:
    """Record what the values of a setting need once, and score them all."""
    with phase("reading the configuration", brief=True):
        from anisomem.sweep import command as sweep

        configs = sweep.composed(name, overrides)
    if configs[0].dry_run:
        return show_plan(configs, f"the {name} sweep")
    cases = sweep.recorded(configs, sweep.parent(overrides, configs))
    if failed(cases):
        return 1
    with phase("scoring and drawing"), concerning(f"the {name} sweep"):
        table, folder = sweep.report(name, cases, typed())
    print(table)
    warn(cases)
    print(f"Sweep: {folder}/ (tables, figures, data)")
    return 0
