"""Several processes on one run: meant, by mistake, and killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.errors import UserError
from anisomem.run.workers import Work, do_all, require_same
from anisomem.storage.store import SECONDS, ScoreStore

N = 320


@pytest.fixture
def setting(large_run):
    return [*large_run, "detector=[anisotropy]", "draws=200", "timing_repeats=0"]


@pytest.fixture
def launch(setting, start):
    """Starts ``anisomem run`` in a process of its own."""
    return partial(start, "run", *setting)


def children(pid):
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def components(runs):
    (folder,) = runs.glob("*/*/components")
    return ScoreStore.stored(folder).read().drop(columns=SECONDS)


@pytest.mark.slow
def test_two_runs_on_one_folder_end_alike(launch, tmp_path):
    several = "detector=[anisotropy,wen,jeon]", "detector.jeon.n=[1]", f"limit={N // 2}"
    runs = [launch(*several, "workers=1", f"runs={tmp_path / 'shared'}") for _ in range(2)]
    alone = launch(*several, "workers=2", f"runs={tmp_path / 'alone'}")
    printed = [run.communicate() for run in [*runs, alone]]
    assert [run.returncode for run in [*runs, alone]] == [0, 0, 0], printed
    tables = [out.partition("Report:")[0] for out, _ in printed]
    assert tables[0] == tables[1] == tables[2]
    found, expected = components(tmp_path / "shared"), components(tmp_path / "alone")
    assert len(found) == N // 2 * 4
    assert found.equals(expected)  # to the last bit


@pytest.mark.slow
def test_killed_worker_ends_the_run_in_one_line(launch, setting, tmp_path):
    run = launch("workers=2", f"runs={tmp_path / 'runs'}")
    while not list(tmp_path.glob("runs/*/*/components/*.parquet")):
        assert run.poll() is None
        time.sleep(0.01)
    (server,) = (c for c in children(run.pid) if b"forkserver" in command_line(c))
    os.kill(children(server)[0], signal.SIGKILL)
    _, complaint = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "a recording process died" in complaint and "Traceback" not in complaint
    assert main(["run", *setting, "workers=1", f"runs={tmp_path / 'runs'}"]) == 0
    assert len(components(tmp_path / "runs")) == N * 4


@pytest.mark.slow
def test_no_process_imports_what_the_current_folder_calls_a_librarys_name(setting, tmp_path):
    for name in ("torch", "diffusers", "selectors", "tempfile", "anisomem"):
        file = tmp_path / f"{name}.py"
        file.write_text("open(__file__ + '.imported', 'w')\n")
    command = [Path(sys.executable).with_name("anisomem"), "run", *setting]  # no copy of another
    command += ["workers=2", "limit=128", f"runs={tmp_path / 'runs'}"]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    _, complaint = run.communicate(timeout=120)
    assert run.returncode == 0, complaint
    assert not list(tmp_path.glob("*.imported"))
    assert len(components(tmp_path / "runs")) == 128 * 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_is_an_interruption(launch, tmp_path, workers):
    run = launch(f"workers={workers}", f"runs={tmp_path / 'runs'}")
    eventually(lambda: run.poll() is not None or any(tmp_path.glob("runs/*/*/components/*.parq*")))
    run.terminate()
    _, complaint = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "the same command again continues" in complaint and "Traceback" not in complaint


@pytest.fixture
def slow(tmp_path):
    """Starts slow tasks in a process group of their own; and those begun or done so far."""

    def start(*how):
        script = Path(__file__).parent / "slow_work.py"
        return subprocess.Popen(
            [sys.executable, script, tmp_path, *how],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def count(what):
        return len(list(tmp_path.glob(f"*.{what}")))

    return start, count


def eventually(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["begun", "done"])
def test_an_interruption_ends_after_the_tasks_in_flight(slow, sent, what):
    start, count = slow
    run = start("works")
    eventually(lambda: count(what) >= {"begun": 1, "done": 3}[what])  # the other is about to begin
    os.killpg(run.pid, sent)
    begun = count("begun")
    out, err = run.communicate(timeout=120)
    assert out == "interrupted\n" and "Traceback" not in err
    assert "once more Ctrl-C ends them" in err
    assert count("begun") == count("done") <= begun + 2  # what was in flight was not lost


@pytest.mark.slow
def test_a_temporary_folder_too_deep_for_a_socket_is_no_hindrance(slow, tmp_path, monkeypatch):
    start, count = slow
    (deep := tmp_path / ("x" * 100)).mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    out, err = start("raises").communicate(timeout=120)
    assert out == "UserError: the fifth task fails\n" and "Traceback" not in err
    assert count("done") >= 4


@pytest.mark.slow
def test_processes_of_an_accelerator_are_no_copies_and_end_alike(slow):
    start, count = slow
    run = start("works", "spawned")
    eventually(lambda: count("done") >= 3)
    assert not [c for c in children(run.pid) if b"forkserver" in command_line(c)]
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert out == "interrupted\n" and "Traceback" not in err
    assert count("begun") == count("done")


@pytest.mark.slow
def test_ctrl_c_twice_ends_what_is_in_flight(slow):
    start, count = slow
    run = start("hangs")
    eventually(lambda: count("begun") == 2)
    os.killpg(run.pid, signal.SIGINT)
    line = run.stderr.readline()
    while "interrupted" not in line:
        line = run.stderr.readline()
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert out == "interrupted\n" and "Traceback" not in err
    assert (count("begun"), count("done")) == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "UserError: the fifth task fails"),
        ("cannot write", "CannotWriteError: cannot write {}/large: File too large; nothing rec"),
        ("own", "RuntimeError: OwnError: task 4: fails"),
        ("own user's", "UserError: task 4: fails"),
        ("twice", "RuntimeError: TwiceError: task 4"),
        ("exits", "RuntimeError: SystemExit: 5"),
    ],
    ids=["a mistake", "full disk", "own", "own mistake", "says another thing", "exit"],
)
def test_a_task_that_raises_says_why_after_the_tasks_in_flight(slow, tmp_path, how, said):
    """Whatever it raises: an error that no other process can read is no process that died."""
    start, count = slow
    run = start(how)
    out, err = run.communicate(timeout=120)
    assert out.startswith(said.format(tmp_path)) and out.count("\n") == 1
    assert "Traceback" not in err
    assert count("done") == count("begun") - 1 and count("begun") <= 4 + 1 + 2


def alone(here, keep, tasks=(0, 1, 2)):
    do_all(tasks, Work(here, lambda _: here, keep), None, len(tasks), "work", "task")


def test_alone_it_keeps_a_task_while_the_next_is_done():
    began, kept = [Event() for _ in range(3)], []

    def here(task):
        began[task].set()
        return 10 * task

    def keep(task, result):
        assert task == 2 or began[task + 1].wait(60)
        kept.append((task, result))
        return 1

    alone(here, keep)
    assert kept == [(0, 0), (1, 10), (2, 20)]


@pytest.mark.parametrize("raised", [UserError("the second task fails"), KeyboardInterrupt()])
def test_alone_it_keeps_what_was_done_before_the_end(raised):
    kept = []

    def here(task):
        if task == 1:
            raise raised
        return task

    def keep(task, _):
        time.sleep(0.1)
        kept.append(task)
        return 1

    with pytest.raises(type(raised)):
        alone(here, keep)
    assert kept == [0]


def test_alone_it_ends_where_a_task_cannot_be_kept():
    done = []

    def keep(*_):
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        alone(done.append, keep, range(5))
    assert done == [0, 1]


def test_processes_record_only_what_the_command_began():
    require_same({"mine": "abc"}, {"mine": "abc"})
    with pytest.raises(UserError, match="has changed since the command began; run it again"):
        require_same({"mine": "abc"}, {"mine": "abd"})


def test_a_model_that_changes_after_the_command_began_is_not_recorded(large_run, tmp_path):
    words = [*large_run, "detector=[anisotropy]", "workers=1", f"runs={tmp_path / 'runs'}"]
    (case,) = (Case(one, "changed") for one in compose.cases(words))
    place = Path(case.config.model["path"])
    copied = tmp_path / "copied"
    shutil.copytree(place, copied)
    (case,) = (Case(one, "changed") for one in compose.cases([*words, f"model.path={copied}"]))
    weights = next(copied.glob("unet/*.safetensors"))
    os.utime(weights, ns=(1, 1))
    with pytest.raises(UserError, match=r"the model, or .*, has changed since the command began"):
        complete(case)
    assert not list(case.folder.glob("components/*.parquet"))
