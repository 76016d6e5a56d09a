"""Slow tasks in several processes, as a program of its own: ``slow_work.py FOLDER HOW``."""

import sys
import time
from functools import partial
from pathlib import Path

from anisomem.errors import UserError
from anisomem.run.workers import do_all

TASKS = 60


class Work:
    """Leaves a file when a task begins and one when it is done."""

    def __init__(self, folder, how):
        self.folder, self.how = Path(folder), how

    def __call__(self, task):
        (self.folder / f"{task}.begun").touch()
        if self.how == "raises" and task == 4:
            raise UserError("the fifth task fails")
        time.sleep(600 if self.how == "hangs" else 0.3)
        (self.folder / f"{task}.done").touch()
        return 1


if __name__ == "__main__":
    given = sys.argv[1:]
    try:
        do_all(range(TASKS), Work(*given), partial(Work, *given), 2, TASKS, "slow", "task")
    except UserError as error:
        print(error)
    except KeyboardInterrupt:
        print("interrupted")
