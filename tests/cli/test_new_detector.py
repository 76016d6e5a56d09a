"""``anisomem new-detector``: what it writes works as it is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from anisomem.cli.main import main

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_passes_the_linter(folder, capsys):
    """And its own test, which tests/test_docs.py runs."""
    assert main(["new-detector", "edge_of_noise"]) == 0
    out = capsys.readouterr().out.splitlines()
    written = {"edge_of_noise.py", "conf/detector/edge_of_noise.yaml", "test_edge_of_noise.py"}
    assert {line.removeprefix("wrote ") for line in out if line.startswith("wrote ")} == written
    assert "anisomem check-detector edge_of_noise" in out
    # A shell passes on the brackets as they stand.
    assert out[-1] == "anisomem run 'detector=[edge_of_noise,wen,anisotropy]'"
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == written
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check"], ["format", "--check"]):
        lint = [BIN / "ruff", *command, *settings, str(folder)]
        done = subprocess.run(lint, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_printed_run_works_and_its_store_needs_no_configuration(folder, capsys, monkeypatch):
    """Into another folder, in two processes; tests/test_docs.py runs the other commands."""
    assert main(["new-detector", "mine", "--out", "a/b c"]) == 0
    commands = capsys.readouterr().out.split("\n\n")[1].strip().splitlines()
    assert commands[0] == "cd 'a/b c'" and "pytest" in commands
    assert commands[1] == "anisomem check-detector mine"
    few = "model=testbed_epsilon timing_repeats=0 gallery=0 draws=200 workers=2 limit=64"
    run = [commands[0], f"{commands[-1]} {few}"]
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-ec", "\n".join(run)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "model testbed_epsilon, prompts testbed_epsilon\n" in done.stdout
    assert "| mine " in done.stdout
    # The table again, where it knows the detector by its stored configuration alone.
    (here := folder / "a" / "b c").joinpath("conf/detector/mine.yaml").unlink()
    (run_folder,) = (here / "runs").iterdir()
    monkeypatch.chdir(here)
    assert main(["table", str(run_folder)]) == 2
    assert "add --allow mine.Mine" in capsys.readouterr().err
    table = [BIN / "anisomem", "table", run_folder, "--allow", "mine.Mine"]
    again = subprocess.run(table, cwd=here, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    lines = [
        [line for line in text.splitlines() if line.startswith("|")]
        for text in (again.stdout, done.stdout)
    ]
    assert lines[0] == lines[1] and len(lines[0]) > 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("3d", "letters, digits and underscores"),
        ("my-detector", "letters, digits and underscores"),
        ("class", "letters, digits and underscores"),
        ("größe", "letters, digits and underscores"),
        ("../up", "letters, digits and underscores"),
        ("_", "needs a letter first"),
        ("wen", "a detector 'wen' is known already"),
        ("json", "a module 'json' is installed already"),
        ("taken", "taken.py exists and is not overwritten"),
    ],
)
def test_names_that_cannot_be(folder, name, expected, capsys):
    (folder / "taken.py").write_text("mine = 1\n")
    assert main(["new-detector", name]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and expected in error
    assert [path.name for path in folder.rglob("*")] == ["taken.py"]
    assert (folder / "taken.py").read_text() == "mine = 1\n"


def test_twice_is_refused(folder, capsys):
    assert main(["new-detector", "mine"]) == 0
    (folder / "mine.py").unlink()
    assert main(["new-detector", "mine"]) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert not (folder / "mine.py").exists()


@pytest.mark.slow
def test_templates_are_in_the_wheel(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    build += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    templates = {
        str(p.relative_to(ROOT)) for p in (ROOT / "anisomem/conformance/templates").iterdir()
    }
    assert len(templates) == 3 and templates <= held
    assert "anisomem/conformance/checks.py" in held
