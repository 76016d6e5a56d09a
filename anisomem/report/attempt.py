"""What may fail without costing the table.

What must not fail is called without it.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from anisomem.errors import shows_tracebacks
from anisomem.run import forked

T = TypeVar("T")

log = logging.getLogger(__name__)

left: list[str] = []  # what has been left out since the command began


def attempt(what: str, make: Callable[[], T]) -> T | None:
    """What ``make`` returns; None where it fails, which is said in one line."""
    try:
        return make()
    except Exception as error:
        left_out(what, error)
        return None


def attempts(makes: Mapping[str, Callable[[], T | None]], title: str, unit: str) -> dict[str, T]:
    """What each ``make`` returns by name, without those that return None.

    They are independent of each other, and shared among processes.

    Arguments:
        makes: By name; each says itself what it leaves out, as :func:`attempt` does.
        title, unit: Of the progress bar.
    """
    made = forked.each([partial(_noted, make) for make in makes.values()], title, unit)
    found: dict[str, T] = {}
    for name, (value, lost) in zip(makes, made, strict=True):
        left.extend(lost)
        if value is not None:
            found[name] = value
    return found


def _noted(make: Callable[[], T]) -> tuple[T, list[str]]:
    """What is made, and what was left out of it, which the caller adds."""
    before = len(left)
    made, lost = make(), left[before:]
    del left[before:]  # where this is no copy of the process
    return made, lost


def left_out(what: str, error: Exception) -> None:
    """Says in one line that something is missing and why; with ANISOMEM_DEBUG=1 also where."""
    left.append(what)
    reason = " ".join(str(error).split()) or "no reason given"
    log.warning("%s is left out: %s: %s", what, type(error).__name__, reason)
    if shows_tracebacks():
        log.warning("%s", "".join(traceback.format_exception(error)))
