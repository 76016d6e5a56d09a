"""Jobs of one command that are shared among copies of its process.

A copy has everything that is in memory, so a job is any function, and what it returns is handed
back. Where a process cannot be copied safely, or there is one core, jobs are done here. Long tasks
that load a model for themselves are shared in ``workers``.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from anisomem.console import progress

T = TypeVar("T")

MOST = 8  # copies; each writes to the memory that it shares with the others
NUMBER = 4  # bytes of a job's number in the file that hands them out


def each(jobs: Sequence[Callable[[], T]], title: str, unit: str, copied: bool = True) -> list[T]:
    """What every job returns, in their order.

    A copy takes the next job when it has done one. What jobs log is logged here, each message
    once. A job whose copy fails or dies is done again here, which says what is wrong.

    Arguments:
        jobs: None waits for another, or changes anything but files; what one returns is pickled.
        title, unit: Of the progress bar.
        copied: Whether copies can do them; they have no accelerator.
    """
    done: dict[int, T] = {}
    said: set[str] = set()
    with (
        _copies(jobs if copied else []) as ends,
        progress.bar(title, len(jobs), unit, leave=True) as bar,
    ):
        open_ends = list(ends)
        while open_ends:
            for end in wait(open_ends):
                assert isinstance(end, Connection)
                try:
                    answer = end.recv_bytes()
                except (EOFError, OSError):  # the latter where it died while it answered
                    open_ends.remove(end)
                    continue
                try:
                    number, made, records = pickle.loads(answer)
                except Exception:  # what is pickled is not always read back: done again below
                    continue
                done[number] = made
                for record in records:
                    if record.getMessage() not in said:
                        said.add(record.getMessage())
                        logging.getLogger(record.name).handle(record)
                bar.update()
        for number, job in enumerate(jobs):
            if number not in done:
                done[number] = job()
                bar.update()
    return [done[number] for number in range(len(jobs))]


@contextmanager
def _copies(jobs: Sequence[Callable[[], object]]) -> Iterator[list[Connection]]:
    """Where the copies of this process answer; none where it is not copied."""
    count = min(MOST, len(jobs), _cores())
    if sys.platform != "linux" or count < 2:  # elsewhere system libraries do not survive it
        yield []
        return
    numbers = os.memfd_create("jobs")  # copies share the place at which they read
    os.write(numbers, b"".join(i.to_bytes(NUMBER, "big") for i in range(len(jobs))))
    os.lseek(numbers, 0, os.SEEK_SET)
    context = multiprocessing.get_context("fork")
    ends: list[Connection] = []
    copies: list[BaseProcess] = []
    try:
        for _ in range(count):
            here, there = context.Pipe(duplex=False)
            copies.append(context.Process(target=_work, args=(jobs, numbers, there), daemon=True))
            with warnings.catch_warnings():  # no thread of ours is in the middle of anything
                warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
                copies[-1].start()
            there.close()
            ends.append(here)
        yield ends
    finally:
        os.close(numbers)
        for copy in copies:
            copy.terminate()  # whatever it is at: nobody waits for it any more
            copy.join()
        for end in ends:
            end.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _work(jobs: Sequence[Callable[[], object]], numbers: int, answer: Connection) -> None:
    """Does jobs in a copy until none is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.root.handlers = [kept := _Kept()]
    while number := _next(numbers):
        job = int.from_bytes(number, "big")
        kept.records = []
        try:
            content = pickle.dumps((job, jobs[job](), kept.records))
        except Exception:  # done again by the parent, which says so
            continue
        answer.send_bytes(content)


def _next(numbers: int) -> bytes:
    """The next job's number, b"" where none is left.

    Of such a file two copies may read the same place at once; a lock ends with its process.
    """
    fcntl.lockf(numbers, fcntl.LOCK_EX)
    try:
        return os.read(numbers, NUMBER)
    finally:
        fcntl.lockf(numbers, fcntl.LOCK_UN)


class _Kept(logging.Handler):
    """Keeps what is logged, as text."""

    def __init__(self) -> None:
        super().__init__()  # of every level: what is shown is up to the parent's handlers
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.records.append(record)
