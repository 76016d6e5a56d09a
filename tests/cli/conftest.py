"""A tiny pipeline and a few prompts, chosen as a user chooses them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main

DETECTORS = "detector=[anisotropy,anisotropy_fitted,wen,wen_cost_matched,jeon,text_only,random]"


@pytest.fixture
def write_prompts():
    """Writes twelve memorized and twelve other prompts in pairs that share a cluster."""

    def write(path, **changes):
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

    return write


@pytest.fixture
def pipeline_folder(save_pipeline):
    return save_pipeline()


@pytest.fixture
def setting(pipeline_folder, tmp_path, write_prompts):
    """Overrides that run the tiny pipeline on a few prompts."""
    return [
        "experiment=quickstart",
        "model=diffusers_folder",
        f"model.path={pipeline_folder}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={write_prompts(tmp_path / 'prompts.parquet')}",
        DETECTORS,
        "draws=200",
        "workers=1",
        "timing_repeats=1",
        f"runs={tmp_path / 'runs'}",
    ]


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
