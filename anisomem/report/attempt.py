"""What may fail without costing the table.

What must not fail is called without it.
"""

import logging
import traceback
from collections.abc import Callable
from typing import TypeVar

from anisomem.errors import shows_tracebacks

T = TypeVar("T")

log = logging.getLogger(__name__)


def attempt(what: str, make: Callable[[], T]) -> T | None:
    """What ``make`` returns; None where it fails, which is said in one line."""
    try:
        return make()
    except Exception as error:
        left_out(what, error)
        return None


def left_out(what: str, error: Exception) -> None:
    """Says in one line that something is missing and why; with ANISOMEM_DEBUG=1 also where."""
    reason = " ".join(str(error).split()) or "no reason given"
    log.warning("%s is left out: %s: %s", what, type(error).__name__, reason)
    if shows_tracebacks():
        log.warning("%s", "".join(traceback.format_exception(error)))
