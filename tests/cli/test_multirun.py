"""``anisomem multirun`` in a process of its own, since Hydra keeps its state in the process."""

from collections import namedtuple

import pytest

Done = namedtuple("Done", "returncode stdout stderr")


@pytest.fixture
def setting(large_run, tmp_path):
    more = ["detector=[wen,random]", "draws=100", "workers=1", "timing_repeats=0", "limit=64"]
    return [*large_run, *more, f"runs={tmp_path / 'runs'}"]


@pytest.fixture
def multirun(start):
    """Exit code, stdout and stderr of the command."""

    def run(*arguments):
        begun = start("multirun", *arguments)
        out, err = begun.communicate()
        return Done(begun.returncode, out, err)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_a_failing_job_lets_the_others_run_and_the_same_command_continues(
    setting, multirun, tmp_path, launcher
):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    swept = [*setting, "model.dtype=float32,flot16", f"hydra/launcher={launcher}"]
    first = multirun(*swept)
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    assert "failed; the same command again continues" in first.stderr
    folder = tmp_path / "runs" / "quickstart"
    tables = sorted(folder.glob("*/table.csv"))
    assert len(tables) == 1  # in the folder of its case
    shards = {path: path.stat().st_mtime_ns for path in folder.glob("*/components/*.parquet")}

    again = multirun(*[o.replace("flot16", "float16") for o in swept])
    assert again.returncode == 0, again.stderr
    assert len(sorted(folder.glob("*/table.csv"))) == 2
    assert {path: path.stat().st_mtime_ns for path in shards} == shards  # nothing recorded anew
    assert (tmp_path / "runs" / "multirun" / "multirun.yaml").exists()


def test_a_wrong_name_is_one_line(setting, multirun):
    done = multirun(*setting, "dataset=prompts_fil,prompts_file")
    assert done.returncode == 2
    assert done.stderr == (
        "anisomem: no dataset named 'prompts_fil'; did you mean 'prompts_file'?\n"
    )


def test_a_value_of_the_wrong_type_is_one_line(setting, multirun):
    done = multirun(*setting, "seeds=[1],abc")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("anisomem: ") and "seeds" in done.stderr
