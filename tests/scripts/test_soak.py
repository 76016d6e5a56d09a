"""A short soak: what a run survives here, scripts/soak.py tries two hundred times."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_killed_runs_end_as_the_uninterrupted_one(large_run, tmp_path):
    spec = spec_from_file_location("soak", ROOT / "scripts" / "soak.py")
    soak = module_from_spec(spec)
    spec.loader.exec_module(soak)
    counts = soak.soak([*large_run, *soak.SMALL], kills=6, seed=1, folder=tmp_path)
    assert sum(n for what, n in counts.items() if what.startswith(tuple(soak.CODES))) == 6
    assert counts["runs brought to an end, bit for bit equal"] >= 1
