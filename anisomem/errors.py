"""Mistakes that a user can mend: one line that says what was given and what is expected."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something in the configuration, a file or a flag is wrong; shown without a traceback."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, suggesting the nearest that does."""
    names = sorted(known)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(names)}"
    return UserError(f"no {kind} named {given!r}; {hint}")


def one_of(what: str, given: str, known: Iterable[str]) -> None:
    """Raises unless ``given`` is a known choice, suggesting the nearest."""
    if given not in (names := list(known)):
        raise unknown(what, given, names)
