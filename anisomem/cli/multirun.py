"""``anisomem multirun``: what must be recorded anew for every value, by Hydra's multirun.

A job is what ``anisomem run`` would do with its overrides, except that its report lies in the
folder of its case, where no other job writes. Run again, it continues, and a finished one only
prints its table; so the same command again finishes a sweep of which jobs have failed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from anisomem.cli.command import OVERRIDE, Command, is_quiet
from anisomem.cli.run import run
from anisomem.errors import INTERRUPTED, reported, unknown

if TYPE_CHECKING:
    from omegaconf import DictConfig

PACKAGE = "pkg://anisomem.conf"


class JobError(Exception):
    """A job has said what is wrong with it."""


@click.command(
    "multirun",
    cls=Command,
    short_help="Run every combination of several values.",
    context_settings={"ignore_unknown_options": True},
    settings=["experiment", "model", "dataset", "seeds", "limit", "workers", "runs"],
    examples=[
        "anisomem multirun model=testbed_epsilon,testbed_velocity model.dtype=float32,bfloat16",
        "anisomem multirun model=testbed_epsilon,testbed_velocity hydra/launcher=joblib workers=1",
    ],
)
@click.argument(
    "arguments",
    nargs=-1,
    metavar="NAME=VALUE[,VALUE]...",
    type=OVERRIDE,
    help="As of anisomem run, with several values; and options of Hydra's own.",
)
def command(arguments: Sequence[str]) -> int:
    """Run every combination of several values, by Hydra's multirun.

    A failing job lets the others run. hydra/launcher= chooses where they run.
    """
    quiet = ["hydra/hydra_logging=none"] if is_quiet() else []
    return multirun([*quiet, *arguments])


def multirun(arguments: Sequence[str]) -> int:
    """Runs every combination of the values in ``arguments``, on the launcher they choose.

    A failing job lets the others run; then the exit code is 1.

    Raises:
        UserError: An unknown option, setting or group member, or a value of the wrong type.
    """
    import hydra

    from anisomem.config import compose

    flags = [argument for argument in arguments if argument.startswith("-")]
    words = [argument for argument in arguments if not argument.startswith("-")]
    _require_known(flags)
    texts = [one.text for one in compose.checked(words, several=True)]
    sys.argv = ["anisomem multirun", "--multirun", *flags, *texts]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on, which are one line here
    with compose.one_line_errors():
        try:
            hydra.main(PACKAGE, "config", version_base="1.3")(job)()
        except JobError as failed:
            print(failed, file=sys.stderr)
            return 1
    return 0


def _require_known(flags: Sequence[str]) -> None:
    """Refuses options that are Hydra's no more than ours.

    Raises:
        UserError: A name does not exist; says the nearest that does.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    known = re.findall(r"--[a-z-]+", parser.format_usage())
    for flag in flags:
        name = flag.partition("=")[0]
        if name.startswith("--") and name not in known:
            raise unknown("option", name, [*known, "--verbose", "--quiet"])


def job(_: DictConfig) -> None:
    """One combination; Hydra has composed it, and the overrides that made it choose the cases.

    Raises:
        JobError: It makes no sense, or prompts failed; which is printed at once.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    overrides = list(HydraConfig.get().overrides.task)
    GlobalHydra.instance().clear()  # composing the cases initialises it anew
    named = f"anisomem: {' '.join(overrides)}"
    code = reported(partial(run, overrides, own_report=True), named)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise JobError(f"{named} failed; the same command again continues")
