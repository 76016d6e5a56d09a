"""Mistakes that a user can mend, and the one guard where the library meets the user.

Either is one line that says what was given and what is expected.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

INTERRUPTED = 130  # exit code after Ctrl-C or SIGTERM
MOST = 50  # names that a message lists
DEBUG = "ANISOMEM_DEBUG"  # 1: tracebacks are printed; UNEXPECTED: but none of a user's mistake
UNEXPECTED = "unexpected"  # what -v asks for


class UserError(Exception):
    """Something in the configuration, a file or a flag is wrong; shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the one that was meant, or those there are."""
    names = sorted(known)
    meant = _meant(given, names)
    some = ", ".join(names[:MOST]) + f" and {len(names) - MOST} more" * (len(names) > MOST)
    hint = f"did you mean {meant!r}?" if meant else f"known: {some or 'none'}"
    shown = given if len(given) <= 80 else f"{given[:77]}..."
    return UserError(f"no {kind} named {shown!r}; {hint}")


def _meant(given: str, names: Sequence[str]) -> str | None:
    """The name that is near enough to be meant: misspelt, cased, cut short, or turned about."""
    begun = [one for one in names if len(given) > 3 and one.lower().startswith(given.lower())]
    if len(begun) == 1:
        return begun[0]
    if nearest := difflib.get_close_matches(given, names, n=1, cutoff=0.6):
        return nearest[0]
    cased = (one for one in names if one.lower() == given.lower())
    parts = (one for one in names if len(given) > 2 and one.lower().startswith(given.lower()))
    turned = (one for one in names if sorted(one) == sorted(given))
    return next(cased, None) or next(parts, None) or next(turned, None)


def one_of(what: str, given: str, known: Iterable[str]) -> None:
    """Raises unless ``given`` is a known choice, suggesting the nearest."""
    names = list(known)
    if not isinstance(given, str):  # a configuration may hold anything
        raise UserError(f"{what} must be one of {', '.join(names)}; got {given!r}")
    if given not in names:
        raise unknown(what, given, names)


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Says of an error that nobody expected which setting or file it concerns."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        error.add_note(what)
        raise


def reported(action: Callable[[], int], name: str = "anisomem") -> int:
    """Does ``action`` for a user; what it raises is one line on the error stream.

    Arguments:
        action: Returns the exit code.
        name: Begins the line.

    Returns:
        Its exit code; 2 after a mistake of the user's, 3 after an error that nobody expected, of
        which the traceback is in a file that the line names, 130 after an interruption and 141
        where the reader of the output has gone.
    """
    try:
        return action()
    except KeyboardInterrupt:
        _say(name, "interrupted; the same command again continues")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, `anisomem list models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except UserError as error:
        if os.environ.get(DEBUG) == "1":
            _print(error)
        _say(name, str(error))
        return 2
    except Exception as error:  # ours, a library's, the system's, or of a class of the user's
        _say(name, f"{_told(error)}; {_keep_traceback(error)}")
        return 3


def shows_tracebacks() -> bool:
    """Whether the traceback of an error that nobody expected is to be printed."""
    return os.environ.get(DEBUG) in ("1", UNEXPECTED)


def _say(name: str, text: str) -> None:
    """One line, whatever the text has in it."""
    shown = re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda m: repr(m[0])[1:-1], text
    )
    print(f"{name}: {shown}", file=sys.stderr)


def _told(error: Exception) -> str:
    """What it concerns, what it is, and where in a file of the user's it was raised."""
    said = " ".join(str(error).split())
    cause = f"{type(error).__name__}{': ' * bool(said)}{said[:500]}"
    parts = [*reversed(getattr(error, "__notes__", [])), cause]
    return ": ".join(parts) + _place(error)


def _place(error: Exception) -> str:
    """The innermost line of a file that is neither ours nor a library's, in brackets, or ""."""
    import sysconfig
    import traceback
    from pathlib import Path

    ours, paths = Path(__file__).parent, sysconfig.get_paths()
    known = [ours, ours.with_name("baselines"), Path(paths["stdlib"]), Path(paths["scripts"])]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        library = {"site-packages", "dist-packages"} & set(file.parts)
        if (
            file.is_file()
            and not library
            and not any(file.is_relative_to(folder) for folder in known)
        ):
            return f" ({file}, line {frame.lineno})"
    return ""


def _keep_traceback(error: Exception) -> str:
    """Prints the traceback, or writes it to a file of the system's; where it is, in words."""
    import tempfile
    import traceback

    if shows_tracebacks():
        _print(error)
        return "the traceback is above"
    try:
        descriptor, file = tempfile.mkstemp(prefix="anisomem-", suffix=".log")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            print(*sys.argv, file=stream)
            traceback.print_exception(error, file=stream)
    except OSError:  # a full disk
        return f"{DEBUG}=1 prints the traceback"
    return f"the traceback is in {file}, {DEBUG}=1 prints it"


def _print(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)
