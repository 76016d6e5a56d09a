"""Where the command's words go: they may be closed, full, or know ASCII alone.

What is said while something goes on is ``progress``.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from anisomem.errors import DEBUG, UNEXPECTED, UserError

LOGGERS = ("anisomem", "baselines")
LOG = "ANISOMEM_LOG"  # their level, for worker processes too
QUIET = "TQDM_DISABLE"
LEVELS = ("DEBUG", "INFO", "ERROR")
#: What tables write, for terminals that have not got it.
PLAIN = {"–": "-", "−": "-", "…": "...", "→": "->", "×": "x", "≤": "<=", "≥": ">=", "±": "+-"}


def quiet_libraries() -> None:
    """The libraries underneath do not announce optional packages and progress of their own.

    Before they are imported; what the user has said in the environment stays.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def restored() -> Iterator[None]:
    """Leaves as they were what :func:`louder` and :func:`quieter` change."""
    environment = {name: os.environ.get(name) for name in (DEBUG, LOG, QUIET, "PYTHONWARNINGS")}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    before = logging.lastResort, warnings.showwarning
    try:
        yield
    finally:
        logging.lastResort, warnings.showwarning = before
        for logger, level in levels.items():
            logging.getLogger(logger).setLevel(level)
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def louder(detailed: bool) -> None:
    """What our own loggers say goes to the error stream, here and in workers.

    So do tracebacks of errors that nobody expected; a user's mistake is a line without one.
    """
    os.environ.setdefault(DEBUG, UNEXPECTED)
    os.environ[LOG] = "DEBUG" if detailed else "INFO"
    set_log_level()


def quieter() -> None:
    """No progress and nothing of a log but errors, here and in workers."""
    os.environ |= {QUIET: "1", LOG: "ERROR", "PYTHONWARNINGS": "ignore"}
    warnings.showwarning = lambda *_, **__: None
    set_log_level()


def set_log_level() -> None:
    """Sets our loggers to the level that the environment names, if it does."""
    if (level := os.environ.get(LOG)) not in LEVELS:
        return
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("anisomem: %(message)s"))
    logging.lastResort = handler  # where nobody else, such as Hydra, takes what is logged


@contextmanager
def guarded() -> Iterator[None]:
    """What cannot be written is one line meanwhile, and warnings are one line each.

    Raises:
        UserError: stdout is closed or full.
        BrokenPipeError: Who reads it has gone.
    """
    codecs.register_error("anisomem", _plainly)
    _occupy()
    before, form = sys.stdout, warnings.formatwarning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="anisomem")
    warnings.formatwarning = _in_a_line  # type: ignore[assignment]
    sys.stdout = _Said(before)  # type: ignore[assignment]
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, warnings.formatwarning = before, form


def _occupy() -> None:
    """Closed streams get a place of their own, or the next file opened would take theirs."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if number < 2 else os.O_WRONLY)
            os.set_inheritable(opened, True)
            mode = "r" if number == 0 else "w"
            if opened == number:
                setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8", closefd=False))


class _Said:
    """stdout, whose failures say so.

    Arguments:
        stream: What it is.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes some text."""
        return self._tried(self._stream.write, text)

    def flush(self) -> None:
        """Writes what waits."""
        self._tried(self._stream.flush)

    def _tried(self, act: Any, *arguments: str) -> Any:
        try:
            return act(*arguments)
        except BrokenPipeError:
            raise
        except OSError as error:
            # What waits cannot be written later either, and the interpreter would try.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            raise UserError(f"cannot write to standard output: {error.strerror}") from None


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding has not: plain ones, else their numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = []
    for character in error.object[error.start : error.end]:
        parts = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        number = character.encode("ascii", "backslashreplace").decode()
        plain.append(PLAIN.get(character) or parts or number)
    return "".join(plain), error.end


def _in_a_line(message: Warning | str, *_: Any) -> str:
    return f"anisomem: {' '.join(str(message).split())}\n"
