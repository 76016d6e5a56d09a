"""What a command is doing: bars in a terminal, and lines where stderr is a file.

A phase of a command says what it is, how far it is and what is left, and once it is done the time
that it took. In a terminal it is drawn by tqdm at once and every second, and stays. Elsewhere it
is one line at its end, and one every half minute until then. What is no phase of its own goes away
in a terminal, and is in a log only where it lasts. ``TQDM_DISABLE=1`` turns all off.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Protocol, Self, TypeVar

T = TypeVar("T")

FIRST, EVERY = 2.0, 30.0  # seconds until the first line of a log, and between two
DRAWN = 1.0  # seconds between two drawings in a terminal


class Bar(Protocol):
    """Counts what is done."""

    def update(self, done: int = 1) -> object:
        """Says that so much more is done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def bar(
    title: str,
    total: int | None = None,
    unit: str = "",
    leave: bool = False,
    first: float = FIRST,
) -> Bar:
    """A bar to be entered; without a total it shows the time that a phase takes.

    Arguments:
        title: The phase's name.
        total: Units to be done.
        unit: What is counted, one of them, in words.
        leave: Whether it is a phase of the command, of which the time is said once it is done.
        first: Seconds until a log has a line of it, where it is no phase.
    """
    if os.environ.get("TQDM_DISABLE", "0") not in ("", "0") or sys.stderr is None:
        return _Shown(lambda: None, 0, 0)
    if sys.stderr.isatty():
        return _Drawn(title, total, unit, leave)
    return Lines(title, total, unit, EVERY if leave else first, ended=leave)


@contextmanager
def phase(title: str, brief: bool = False) -> Iterator[None]:
    """Something that takes its time, without a number of parts.

    Arguments:
        title: What is being done.
        brief: Whether nothing is said of it once it is done, and in a log nothing unless it lasts
            half a minute, so that a mistake that it finds is the only line.
    """
    with bar(title, leave=not brief, first=EVERY):
        yield


def over(items: Sequence[T], title: str, unit: str) -> Iterator[T]:
    """The items one after the other, under a bar."""
    with bar(title, len(items), unit) as shown:
        for item in items:
            yield item
            shown.update()


class _Shown:
    """Something that is shown again and again while it lasts, by a thread of its own.

    Arguments:
        show: Shows it once.
        first, every: Seconds until the first time and between two; no time is never.
    """

    def __init__(self, show: Callable[[], object], first: float, every: float) -> None:
        self.n = 0
        self._show, self._first, self._every = show, first, every
        self._ended = Event()

    def update(self, done: int = 1) -> object:
        self.n += done
        return None

    def __enter__(self) -> Self:
        if self._every:
            Thread(target=self._repeat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _repeat(self) -> None:
        wait = self._first
        while not self._ended.wait(wait):
            self._show()
            wait = self._every


class _Drawn(_Shown):
    """A bar of tqdm, whose clock goes on while nothing is counted."""

    def __init__(self, title: str, total: int | None, unit: str, leave: bool) -> None:
        form = None if total is not None else "{desc} [{elapsed}]"
        unit = f" {unit}" if unit else "it"
        from tqdm import tqdm  # what is listed shows none

        # A terminal that does not know its size says 0, for which tqdm would draw nothing.
        size = {} if _columns() else {"ncols": 80, "nrows": 24}
        self._bar = tqdm(
            desc=title,
            total=total,
            unit=unit,
            leave=leave,
            bar_format=form,
            disable=False,  # tqdm takes its default from the environment when it is imported
            **size,
        )
        super().__init__(self._bar.refresh, DRAWN, DRAWN)

    def update(self, done: int = 1) -> object:
        return self._bar.update(done)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._bar.close()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


class Lines(_Shown):
    """A line in a log once it has lasted a while, then one every half minute, and one at its end.

    Arguments:
        title, total, unit: As of :func:`bar`.
        first, every: Seconds until the first line and between two.
        ended: Whether a line says how long it took; not where an error ends it.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str,
        first: float = FIRST,
        every: float = EVERY,
        ended: bool = False,
    ) -> None:
        self._ends_in_a_line = ended
        super().__init__(self._say, first, every)
        self.title, self.total, self.unit = title, total, unit
        self._begin = monotonic()
        self._from: tuple[int, float] | None = None  # what was done first, and after how long

    def update(self, done: int = 1) -> object:
        super().update(done)
        if self._from is None:  # until then processes start and load
            self._from = self.n, monotonic() - self._begin
        return None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._ends_in_a_line and not any(error):
            _print(self.last_line(monotonic() - self._begin))

    def _say(self) -> None:
        _print(self.line(monotonic() - self._begin))

    def last_line(self, seconds: float) -> str:
        """What is said at the end, after so many seconds."""
        if self.total is None:
            return f"{self.title}: {_clock(seconds)}"
        done = str(self.n) if self.n == self.total else f"{self.n} of {self.total}"
        return f"{self.title}: {done} {self.unit}{'s' * (self.n != 1)} in {_clock(seconds)}"

    def line(self, seconds: float) -> str:
        """What is said after so many seconds."""
        told = [f"{_clock(seconds)} so far"]
        if self.total is not None:
            told = [f"{self.n} of {self.total} {self.unit}s in {_clock(seconds)}"]
            since, begin = self._from or (self.n, 0.0)
            if since < self.n < self.total:
                left = (seconds - begin) * (self.total - self.n) / (self.n - since)
                told.append(f"about {_clock(left)} left")
        return f"{self.title}: {', '.join(told)}"


def _print(line: str) -> None:
    print(f"anisomem: {line}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    """``MM:SS``, or ``H:MM:SS`` from an hour on, as tqdm shows a time."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
