"""Several processes on one run: meant, by mistake, and killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anisomem.storage.store import SECONDS, ScoreStore

N = 320


@pytest.fixture
def launch(large_run):
    """Starts ``anisomem run`` in a process of its own."""

    def start(*overrides):
        settings = [*large_run, "detector=[anisotropy]", "draws=200", "timing_repeats=0"]
        return subprocess.Popen(
            [sys.executable, "-m", "anisomem", "run", *settings, *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def components(runs):
    (folder,) = runs.glob("*/*/components")
    return ScoreStore.stored(folder).read().drop(columns=SECONDS)


@pytest.mark.slow
def test_two_runs_on_one_folder_end_alike(launch, tmp_path):
    runs = [launch("workers=1", f"runs={tmp_path / 'shared'}") for _ in range(2)]
    alone = launch("workers=2", f"runs={tmp_path / 'alone'}")
    printed = [run.communicate() for run in [*runs, alone]]
    assert [run.returncode for run in [*runs, alone]] == [0, 0, 0], printed
    tables = [out.partition("Report:")[0] for out, _ in printed]
    assert tables[0] == tables[1] == tables[2]
    found, expected = components(tmp_path / "shared"), components(tmp_path / "alone")
    assert len(found) == N * 4
    assert found.equals(expected)  # to the last bit


@pytest.mark.slow
def test_killed_worker_ends_the_run_in_one_line(launch, tmp_path):
    run = launch("workers=2", f"runs={tmp_path / 'runs'}")
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    while not list(tmp_path.glob("runs/*/*/components/*.parquet")):
        assert run.poll() is None
        time.sleep(0.01)
    for worker in map(int, workers.read_text().split()):
        if b"spawn_main" in Path(f"/proc/{worker}/cmdline").read_bytes():
            os.kill(worker, signal.SIGKILL)
            break
    _, complaint = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "a recording process died" in complaint and "Traceback" not in complaint
    again = launch("workers=2", f"runs={tmp_path / 'runs'}")
    assert (again.communicate(), again.returncode)[1] == 0
    assert len(components(tmp_path / "runs")) == N * 4
