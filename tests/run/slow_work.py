"""Slow tasks in several processes, as a program of its own: ``slow_work.py FOLDER HOW``.

They are copies of a server, or with a third word are spawned.
"""

import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path

from anisomem.errors import UserError
from anisomem.run.processes import Processes
from anisomem.run.workers import Work, do_all
from anisomem.storage import atomic

TASKS = 60


class OwnError(Exception):
    """Cannot be made again of its message, as an error of a user's class may be."""

    def __init__(self, task, why):
        super().__init__(f"task {task}: {why}")


class OwnUserError(UserError, OwnError):
    """The same, of a mistake that a user can mend."""


class TwiceError(Exception):
    """Says something else when it is made again."""

    def __init__(self, task):
        super().__init__(f"task {task}")


def fail(how, folder):
    match how:
        case "raises":
            raise UserError("the fifth task fails")
        case "cannot write":
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
            atomic.write_bytes(folder / "large", bytes(1000))
        case "own":
            raise OwnError(4, "fails")
        case "own user's":
            raise OwnUserError(4, "fails")
        case "twice":
            raise TwiceError(4)
        case "exits":
            sys.exit(5)


class Slow:
    """Leaves a file when a task begins."""

    def __init__(self, folder, how, device=None):
        self.folder, self.how = Path(folder), how

    def __call__(self, task):
        (self.folder / f"{task}.begun").touch()
        if task == 4:
            fail(self.how, self.folder)
        time.sleep(600 if self.how == "hangs" else 0.3)
        return task


def keep(task, result):
    """Leaves a file in the process that has handed the task out."""
    assert result == task
    (Path(sys.argv[1]) / f"{task}.done").touch()
    return 1


if __name__ == "__main__":
    given, spawned = sys.argv[1:3], sys.argv[3:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line has it
    try:
        work = Work(Slow(*given), partial(Slow, *given), keep)
        pair = Processes(work.start, [None, None], copied=not spawned)
        do_all(range(TASKS), work, pair, TASKS, "slow", "task")
    except (UserError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        print("interrupted")
