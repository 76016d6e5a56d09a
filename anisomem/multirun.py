"""``anisomem multirun``: what must be recorded anew for every value, by Hydra's multirun.

A job is what ``anisomem run`` would do with its overrides, except that its report lies in the
folder of its case, where no other job writes. Run again, it continues, and a finished one only
prints its table; so the same command again finishes a sweep of which jobs have failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from anisomem import cli
from anisomem.config import compose
from anisomem.config.schema import Config
from anisomem.errors import INTERRUPTED, reported

PACKAGE = "pkg://anisomem.conf"


class JobError(Exception):
    """A job has said what is wrong with it."""


def multirun(arguments: Sequence[str]) -> int:
    """Runs every combination of the values in ``arguments``, on the launcher they choose.

    A failing job lets the others run; then the exit code is 1.

    Raises:
        UserError: An unknown setting or group member, or a value of the wrong type.
    """
    flags = [argument for argument in arguments if argument.startswith("-")]
    words = [argument for argument in arguments if not argument.startswith("-")]
    texts = [one.text for one in compose.checked(words, several=True)]
    sys.argv = ["anisomem multirun", "--multirun", *flags, *texts]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on, which are one line here
    with compose.one_line_errors():
        try:
            job()
        except JobError as failed:
            print(failed, file=sys.stderr)
            return 1
    return 0


@hydra.main(PACKAGE, "config", version_base="1.3")  # type: ignore[untyped-decorator]
def job(_: Config) -> None:
    """One combination; Hydra has composed it, and the overrides that made it choose the cases.

    Raises:
        JobError: It makes no sense, or prompts failed; which is printed at once.
    """
    overrides = list(HydraConfig.get().overrides.task)
    GlobalHydra.instance().clear()  # composing the cases initialises it anew
    named = f"anisomem: {' '.join(overrides)}"
    code = reported(partial(cli.run, overrides, apart=True), named)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise JobError(f"{named} failed; the same command again continues")
