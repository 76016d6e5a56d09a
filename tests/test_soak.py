"""A short soak: what survives ``kill -9`` here, scripts/soak.py tries two hundred times."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_killed_runs_end_as_the_uninterrupted_one(save_pipeline, tmp_path):
    spec = spec_from_file_location("soak", ROOT / "scripts" / "soak.py")
    soak = module_from_spec(spec)
    spec.loader.exec_module(soak)
    n = 320
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if i % 2 else 'dog'} {i}" for i in range(n)],
        "label": ["memorized" if i % 2 else "not_memorized" for i in range(n)],
        "cluster": list(range(n)),
        "block": ["made"] * n,
        "kind": ["ordinary"] * n,
    }
    pq.write_table(pa.table(columns), tmp_path / "prompts.parquet")
    overrides = [
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={tmp_path / 'prompts.parquet'}",
        *soak.SMALL,
    ]
    counts = soak.soak(overrides, kills=6, seed=1, folder=tmp_path)
    assert sum(count for what, count in counts.items() if what.startswith("killed")) == 6
    assert counts["runs brought to an end, bit for bit equal"] >= 1
