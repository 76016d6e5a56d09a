"""``anisomem multirun`` in a process of its own, since Hydra keeps its state in the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def setting(large_run, tmp_path):
    more = ["detector=[wen,random]", "draws=100", "workers=1", "timing_repeats=0", "limit=64"]
    return [*large_run, *more, f"runs={tmp_path / 'runs'}"]


def multirun(*arguments):
    command = [sys.executable, "-m", "anisomem", "multirun", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def failing(setting, launcher):
    """The folder of a sweep whose second job has an impossible value."""
    done = multirun(*setting, "model.dtype=float32,flot16", f"hydra/launcher={launcher}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "failed; the same command again continues" in done.stderr
    (runs,) = [o.partition("=")[2] for o in setting if o.startswith("runs=")]
    folder = Path(runs) / "quickstart"
    assert len(sorted(folder.glob("*/table.csv"))) == 1  # in the folder of its case
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_failing_job_lets_the_others_run(setting, launcher):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    failing(setting, launcher)


@pytest.mark.slow
def test_the_same_command_continues(setting):
    folder = failing(setting, "basic")
    shards = {path: path.stat().st_mtime_ns for path in folder.glob("*/components/*.parquet")}
    again = multirun(*setting, "model.dtype=float32,float16", "hydra/launcher=basic")
    assert again.returncode == 0, again.stderr
    assert len(sorted(folder.glob("*/table.csv"))) == 2
    assert {path: path.stat().st_mtime_ns for path in shards} == shards  # nothing recorded anew
    assert (folder.parent / "multirun" / "multirun.yaml").exists()


def test_a_wrong_name_is_one_line(setting):
    done = multirun(*setting, "dataset=prompts_fil,prompts_file")
    assert done.returncode == 2
    assert done.stderr == (
        "anisomem: no dataset named 'prompts_fil'; did you mean 'prompts_file'?\n"
    )


def test_a_value_of_the_wrong_type_is_one_line(setting):
    done = multirun(*setting, "seeds=[1],abc")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("anisomem: ") and "seeds" in done.stderr
