"""``anisomem bench``: what things cost on this machine.

The measurements are in :mod:`anisomem.bench`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli.command import FILE, Checked, Command, overrides, positive


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(positive(size) for size in text.split(","))
    except ValueError:
        raise ValueError(f"expected positive integers like 1,10, got {text!r}") from None


@click.command(
    "bench",
    cls=Command,
    short_help="Measure on this machine what things cost.",
    settings=["model", "weights"],
    examples=["anisomem bench", "anisomem bench model=sd14 weights=random --out costs"],
)
@overrides("E.g. model=sd14 weights=random.")
@click.option(
    "--turns",
    type=Checked(positive),
    metavar="N",
    help="Of every measurement (default: 5; 1 with weights=random on a CPU).",
)
@click.option(
    "--growth",
    type=Checked(_sizes),
    metavar="N,N",
    help="Numbers of prompts (default: 100,1000,10000; with weights=random 1,10, on a CPU 1).",
)
@click.option(
    "--large",
    type=Checked(_sizes),
    metavar="N,N",
    help="Numbers of prompts at a model of closed form (default: 10000,100000).",
)
@click.option("--out", type=FILE, metavar="FILE", help="Keep it as FILE.md and FILE.json.")
def command(
    overrides: Sequence[str],
    turns: int | None,
    growth: tuple[int, ...] | None,
    large: tuple[int, ...] | None,
    out: Path | None,
) -> None:
    """Measure on this machine what evaluating, scoring and the command itself cost."""
    from anisomem.bench.bench import Amounts, bench

    print(bench(overrides, Amounts(turns, growth, large), out))
