"""What the package itself offers is there by name, and costs nothing before it is used."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import anisomem


def test_importing_the_package_imports_nothing_heavy():
    heavy = ["torch", "pandas", "numpy", "hydra", "omegaconf", "diffusers", "matplotlib"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, anisomem; dir(anisomem); "
            f"print([name for name in {heavy} if name in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_documented_and_listed():
    assert set(anisomem.__all__) <= set(dir(anisomem))
    for name in anisomem.__all__:
        place = importlib.import_module(anisomem._PLACES[name])
        assert getattr(anisomem, name) is getattr(place, name)
        assert getattr(anisomem, name).__doc__


def test_type_checkers_see_the_names_that_python_finds():
    """The imports for type checkers say the same as the places of the lazy ones."""
    lines = Path(anisomem.__file__).read_text(encoding="utf-8").splitlines()
    said = dict(
        reversed(line.strip().removeprefix("from ").split(" import "))
        for line in lines
        if line.startswith("    from anisomem")
    )
    assert said == anisomem._PLACES
    assert sorted(said) == sorted(anisomem.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = anisomem.scores
