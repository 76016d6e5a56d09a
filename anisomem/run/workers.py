"""Tasks that are done in this process, or shared among several that end together.

What the tasks are is the caller's; one gets no more than what it is handed.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from anisomem.console import progress
from anisomem.console.terminal import set_log_level
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

T = TypeVar("T")


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
    here: Callable[[T], int],
    start: Callable[[], Callable[[T], int]],
    workers: int,
    total: int,
    title: str,
    unit: str,
) -> None:
    """Does all tasks; on a CPU in a process a core, since small batches leave a second idle.

    How many processes share the work changes no bit: tasks are the same, and each process
    computes in one thread. Each loads the model for itself. Whatever ends the work, Ctrl-C or an
    error, is at most the tasks in flight late.

    Arguments:
        tasks: What is to be done; each is pickled.
        here: Does one in this process and returns how much it was, where it works alone; made
            where others do the work too, since that checks the settings.
        start: Makes the same in another process; is pickled.
        workers: Processes at most.
        total: How much all tasks are.
        title, unit: Of the progress bar.

    Raises:
        UserError: A process died, or what a task raises.
        KeyboardInterrupt: Ctrl-C was pressed: after the tasks in flight; at once when pressed
            again.
    """
    with (
        progress.bar(title, total, unit, leave=True) as bar,
        _shared_out(tasks, here, start, min(workers, len(tasks))) as done,
    ):
        for amount in done:
            bar.update(amount)


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


@contextmanager
def _shared_out(
    tasks: Sequence[T],
    here: Callable[[T], int],
    start: Callable[[], Callable[[T], int]],
    workers: int,
) -> Iterator[Iterator[int]]:
    if workers == 1:
        with one_thread():
            yield map(here, tasks)
        return
    # A forked child would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (start,))
    try:
        yield _in_turn(pool, tasks, workers)
    except BrokenProcessPool:
        raise UserError(
            "a recording process died (killed, or out of memory); nothing recorded is lost, "
            f"run the same command again, with fewer than workers={workers} if memory is short"
        ) from None
    except KeyboardInterrupt:
        with _interrupts_kill():
            print(
                "anisomem: interrupted; what the processes are at is recorded first, once more "
                "Ctrl-C ends them",
                file=sys.stderr,
                flush=True,
            )
            pool.shutdown(cancel_futures=True)
        raise
    finally:
        _end(pool)


def _in_turn(pool: ProcessPoolExecutor, tasks: Sequence[T], workers: int) -> Iterator[int]:
    """Gives a process its next task when it has done one, so that none waits when all end."""
    waiting = iter(tasks)
    running: set[Future[int]] = set()
    while True:
        with _interrupts_held():
            more = islice(waiting, workers - len(running))
            running |= {pool.submit(_work, task) for task in more}
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def _end(pool: ProcessPoolExecutor) -> None:
    """Waits for the tasks in flight; who interrupts that as well ends the processes."""
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown()
        raise


@contextmanager
def _interrupts_kill() -> Iterator[None]:
    """Ctrl-C ends the processes meanwhile, from the very moment at which this is said."""

    def kill(*_: object) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    before = signal.signal(signal.SIGINT, kill)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches a process that is started: it inherits this."""
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)


_begin: Callable[[], Callable[[Any], int]]


def _start(start: Callable[[], Callable[[Any], int]]) -> None:
    global _begin
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    set_log_level()
    # Called by the first task, which can say what is wrong.
    _begin = cache(partial(_in_one_thread, start))


def _in_one_thread(start: Callable[[], Callable[[Any], int]]) -> Callable[[Any], int]:
    made = start()
    if torch := sys.modules.get("torch"):  # whose import takes seconds, where no task needs it
        torch.set_num_threads(1)
    return made


def _end_with_parent() -> None:
    """A killed parent leaves nobody who collects what its workers do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: object) -> int:
    try:
        return _begin()(task)
    except Exception as error:
        if (told := _sendable(error)) is error:
            raise
        raise told from error


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same where another process could not read it.

    One that cannot be unpickled breaks the pool, and would be taken for a process that died.
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


def cores(model: DiffusionModel) -> int:
    """Processes that share the work if the user does not say."""
    return len(os.sched_getaffinity(0)) if model.device.type == "cpu" else 1
