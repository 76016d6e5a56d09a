"""Tasks of a run, done in this process or handed out to several as they finish.

What the tasks are is the caller's; who computes gets no more than what it is handed. This process
owns what is kept and decides which task is next; an :class:`Executor` takes tasks and gives back
results. ``processes`` and ``on_ray`` are executors.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from anisomem.console import progress
from anisomem.console.terminal import set_log_level
from anisomem.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Work(Generic[T, R]):
    """What is to be done with every task.

    Attributes:
        here: Does one in this process, where it works alone; made where others do the work too,
            since that checks the settings.
        start: Makes the same in another process, on a device by name; is pickled, and must hold
            neither prompts nor where anything is kept.
        keep: Keeps a task's result, always in this process, and returns how much it was.
    """

    here: Callable[[T], R]
    start: Callable[[str | None], Callable[[T], R]]
    keep: Callable[[T, R], int]


class Lost:
    """The outcome of a task whose process was lost: it is to be done again."""


class Executor(Protocol):
    """Takes tasks and gives back what became of them; entered while it is used.

    Attributes:
        room: How many tasks it takes at the moment.
        busy: Whether a task is in flight.
    """

    @property
    def room(self) -> int: ...

    @property
    def busy(self) -> bool: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def hand_out(self, task: Any) -> None:
        """Begins a task."""

    def finished(self) -> Iterable[tuple[Any, Any]]:
        """Waits until something has happened.

        Returns:
            Tasks that have ended, each with its result, an error, or :class:`Lost`.
        """

    def kill(self) -> None:
        """Ends all processes at once."""


def require_same(state: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Checks that a process is about to record what the one that started it does.

    Arguments:
        state: Digests of the user's code that it is about to run, and of the model's files.
        expected: The digests that the run was begun with.

    Raises:
        UserError: Code or files have changed in between.
    """
    if state != expected:
        raise UserError(
            "the model, or a detector of your own, has changed since the command began; run it "
            "again"
        )


def do_all(
    tasks: Sequence[T],
    work: Work[T, R],
    executor: Executor | None,
    total: int,
    title: str,
    unit: str,
) -> None:
    """Does all tasks and keeps what they give.

    How many processes share the work changes no bit: tasks are the same, and on a CPU each
    process computes in one thread, since small batches leave a second idle. Each loads the model
    for itself. Whatever ends the work, Ctrl-C or an error, is at most the tasks in flight late,
    and those are kept.

    Arguments:
        tasks: What is to be done; each is pickled.
        work: How.
        executor: Who does it; None is this process.
        total: How much all tasks are.
        title, unit: Of the progress bar.

    Raises:
        UserError: A process died, or what a task raises.
        KeyboardInterrupt: Ctrl-C was pressed: after the tasks in flight; at once when pressed
            again.
    """
    with progress.bar(title, total, unit, leave=True) as bar:
        if executor is None:
            _one_by_one(tasks, work, bar.update)
            return

        def keep(task: T, result: R) -> None:
            bar.update(work.keep(task, result))

        with executor, _interrupts(executor) as interrupted:
            _in_turn(executor, tasks, keep, interrupted)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes in one thread meanwhile: small latents only lose by a second."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _one_by_one(tasks: Sequence[T], work: Work[T, R], update: Callable[[int], object]) -> None:
    """Does the tasks here, and keeps each while the next is done: nobody waits for the disk.

    Whatever ends the work, what was done before is kept first. Of what is done one task at most is
    not kept yet.
    """
    kept: Future[int] | None = None
    with one_thread(), ThreadPoolExecutor(1) as writer:
        for task in tasks:
            result = work.here(task)
            if kept:
                update(kept.result())
            kept = writer.submit(work.keep, task, result)
        if kept:
            update(kept.result())


def _in_turn(
    executor: Executor,
    tasks: Sequence[T],
    keep: Callable[[T, Any], None],
    interrupted: Callable[[], bool],
) -> None:
    """Hands out a task whenever there is room, and keeps every task's result.

    The next is handed out before the last is kept, so that nobody waits for the disk. One that
    cannot be kept ends the work as one that fails does: what is in flight may be kept yet.
    """
    waiting, done = deque(tasks), list[tuple[T, Any]]()
    error: Exception | None = None
    while True:
        try:
            while waiting and executor.room and not (error or interrupted()):
                executor.hand_out(waiting.popleft())
        except UserError as nobody_takes_it:
            error = nobody_takes_it
        for task, result in done:
            try:
                keep(task, result)
            except Exception as cannot_keep:
                error = error or cannot_keep
        if not executor.busy and (not waiting or error or interrupted()):
            break
        done = []
        for task, outcome in executor.finished():
            if isinstance(outcome, Lost):
                waiting.appendleft(task)
            elif isinstance(outcome, Exception):
                error = error or outcome
            else:
                done.append((task, outcome))
    if interrupted():
        raise KeyboardInterrupt
    if error:
        raise error


@contextmanager
def _interrupts(executor: Executor) -> Iterator[Callable[[], bool]]:
    """Ctrl-C is only noted, so that no result is lost on its way; twice, it ends the processes.

    So is SIGTERM where it is answered as Ctrl-C, on the command line; a program that calls us may
    have an answer of its own.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        noted.append(number)
        if len(noted) > 1:
            executor.kill()
            return
        # Not print, which may be at work just now.
        os.write(
            2,
            b"anisomem: interrupted; what the processes are at is recorded first, once more Ctrl-C"
            b" ends them\n",
        )

    taken = [signal.SIGINT]
    if signal.getsignal(signal.SIGTERM) is signal.default_int_handler:
        taken.append(signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield lambda: bool(noted)
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)


def begun(start: Callable[[str | None], Callable[[T], R]], device: str | None) -> Callable[[T], R]:
    """What does tasks in another process than the one that hands them out."""
    set_log_level()
    made = start(device)
    if torch := sys.modules.get("torch"):  # whose import takes seconds, where no task needs it
        torch.set_num_threads(1)
    return made


def sendable(error: Exception) -> Exception:
    """The error, or one that says the same where another process could not read it.

    One that cannot be unpickled breaks a pool, and would be taken for a process that died.
    """
    try:
        read = pickle.loads(pickle.dumps(error))
        same = type(read) is type(error) and str(read) == str(error)
    except Exception:  # whatever a class of somebody else's does
        same = False
    if same:
        return error
    if isinstance(error, UserError):
        return UserError(str(error))
    told = RuntimeError(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", []):
        told.add_note(note)
    return told
