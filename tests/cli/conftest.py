"""A tiny pipeline and a few prompts, chosen as a user chooses them."""

import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from tests.conftest import tiny_run

DETECTORS = "detector=[anisotropy,anisotropy_fitted,wen,wen_cost_matched,text_only,random]"


def prompts(path, **changes):
    """Writes twelve memorized and twelve other prompts in pairs that share a cluster."""
    n = 24
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if i % 4 < 2 else 'dog'} {i // 3}" for i in range(n)],
        "label": ["memorized" if i % 4 < 2 else "not_memorized" for i in range(n)],
        "cluster": [i // 2 for i in range(n)],
        "block": ["repeated"] * n,
        "kind": ["ordinary"] * n,
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


@pytest.fixture
def write_prompts():
    """``write_prompts(path, **changes)`` writes the prompts with other columns in some places."""
    return prompts


@pytest.fixture
def pipeline_folder(save_pipeline):
    return save_pipeline()


def overrides(pipeline_folder, folder):
    """Overrides that run a tiny pipeline on a few prompts, which are written to a folder."""
    return [
        *tiny_run(pipeline_folder, prompts(folder / "prompts.parquet")),
        DETECTORS,
        "draws=200",
        "workers=1",
        "timing_repeats=0",
        f"runs={folder / 'runs'}",
    ]


@pytest.fixture
def setting(pipeline_folder, tmp_path):
    """Overrides that run the tiny pipeline on a few prompts."""
    return overrides(pipeline_folder, tmp_path)


@pytest.fixture(scope="session")
def recorded(save_pipeline, tmp_path_factory):
    """The runs of a folder with a finished one of Wen's norm; do not change them."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", *overrides(save_pipeline(), folder), "detector=[wen]"]) == 0
    return folder / "runs"


@pytest.fixture
def finished(recorded, setting, tmp_path, capsys):
    """Overrides of a finished run of Wen's norm, which may be changed."""
    shutil.copytree(recorded, tmp_path / "runs")
    capsys.readouterr()
    return [*setting, "detector=[wen]"]


@pytest.fixture
def refused(capsys):
    """The one line that a mistake prints; nothing else is printed."""

    def refuse(*arguments):
        assert main(["run", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert "Traceback" not in printed.err
        return printed.err

    return refuse


@pytest.fixture
def on_eight(save_pipeline, tmp_path):
    """A run of the tiny model on eight prompts, and more of its settings."""
    columns = {
        "id": [f"p{i}" for i in range(8)],
        "prompt": [f"{'red cat' if i % 2 else 'dog'} {i}" for i in range(8)],
        "label": [i % 2 for i in range(8)],
        "cluster": list(range(8)),
    }
    pd.DataFrame(columns).to_csv(tmp_path / "prompts.csv", index=False)
    settings = [
        "experiment=quickstart",
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "dataset=prompts_file",
        f"dataset.path={tmp_path / 'prompts.csv'}",
        "draws=200",
        "workers=1",
        "timing_repeats=0",
        "gallery=0",
        f"runs={tmp_path / 'runs'}",
    ]
    return lambda *more: ["run", *settings, *more]
