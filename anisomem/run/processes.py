"""Processes of this machine that share the tasks of a run, and end together."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import forkserver
from threading import Thread
from typing import Any, Self

from anisomem.errors import UserError
from anisomem.run.workers import begun, sendable

APART = "anisomem.run.apart"


class Processes:
    """An executor of this machine: a process for each device that is listed.

    They end with their parent; one that dies ends the work.

    Arguments:
        start: Makes in a process what does tasks there, see :class:`anisomem.run.workers.Work`.
        devices: The device of each.
        copied: Whether they are copies of the server; those on an accelerator, whose driver a
            library may have asked something as it was imported, could not compute.
    """

    def __init__(
        self,
        start: Callable[[str | None], Callable[[Any], Any]],
        devices: Sequence[str | None],
        copied: bool = True,
    ) -> None:
        copied = copied and begin_server()
        context = multiprocessing.get_context("forkserver" if copied else "spawn")
        self.count, places = len(devices), context.SimpleQueue()
        for device in devices:
            places.put(device)
        given = start, places, dict(os.environ)
        self._pool = ProcessPoolExecutor(self.count, context, _start, given)
        self._running: dict[Future[Any], Any] = {}

    @property
    def room(self) -> int:
        return self.count - len(self._running)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def hand_out(self, task: Any) -> None:
        with _interrupts_blocked():
            try:
                self._running[self._pool.submit(_work, task)] = task
            except BrokenProcessPool:
                raise self._died() from None

    def finished(self) -> list[tuple[Any, Any]]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return [(self._running.pop(future), self._outcome(future)) for future in done]

    def kill(self) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    def _outcome(self, future: Future[Any]) -> Any:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            return self._died()
        if error and not isinstance(error, Exception):  # sys.exit() in somebody's detector
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error or future.result()

    def _died(self) -> UserError:
        return UserError(
            "a recording process died (killed, or out of memory); nothing recorded is lost, "
            f"run the same command again, with fewer than workers={self.count} if memory is short"
        )


def begin_server(*modules: str) -> bool:
    """Starts the process that others are copied from, where there is none; it does not wait.

    A copy of this process would inherit torch's threads in an undefined state, and one that begins
    with nothing imports for seconds.

    Arguments:
        modules: What it imports before it is copied.

    Returns:
        Whether it runs; not where the temporary folder's path is too long for a socket in it.
    """
    forkserver.set_forkserver_preload([APART, *modules])
    with _interrupts_blocked(), _current_folder_ignored():
        try:
            forkserver.ensure_running()
        except OSError:
            return False
    return True


@contextmanager
def _current_folder_ignored() -> Iterator[None]:
    """What Python starts meanwhile imports nothing from it, whatever modules its files name."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches a process that is started: it inherits this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_begin: Callable[[], Callable[[Any], Any]]


def _start(
    start: Callable[[str | None], Callable[[Any], Any]], places: Any, environment: dict[str, str]
) -> None:
    global _begin
    os.environ.clear()
    os.environ.update(environment)  # the server's is of when it began
    Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C and SIGTERM are the parent's to answer. The latter is not ignored, for a pool that is
    # broken ends its processes with it: what is sent to the parent's group does not come here. A
    # terminal may stop those of other groups that write to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)
    # Called by the first task, which can say what is wrong.
    _begin = cache(partial(begun, start, places.get()))


def _end_with_parent() -> None:
    """A killed parent leaves nobody who collects what its workers do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: object) -> Any:
    try:
        return _begin()(task)
    except Exception as error:
        if (told := sendable(error)) is error:
            raise
        raise told from error
