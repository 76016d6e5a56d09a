"""What a shell offers: commands, options, and overrides by what ``conf/`` holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anisomem.cli.completion import VARIABLE, _split, overrides
from anisomem.cli.main import main
from anisomem.config.compose import catalog

BIN = Path(sys.executable).parent


def offered(line, capsys, monkeypatch, shell="zsh"):
    """The words that complete a line, without what the shell needs to know of them."""
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    assert main([]) == 0
    return [one.partition("\t")[2] for one in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("anisomem ", ["run", "list", "new-detector"]),
        ("anisomem ta", ["table"]),
        ("anisomem --ver", ["--verbose", "--version"]),
        ("anisomem compare --", ["--in", "--out", "--allow", "--verbose", "--quiet", "--help"]),
        ("anisomem sweep t", ["timesteps", "transfer"]),
        ("anisomem list d", ["detectors", "datasets"]),
        ("anisomem scores runs --label ", ["memorized", "other"]),
        ("anisomem generate 'a cat' --mitigate sail_", ["sail_sd14", "sail_sd20"]),
        ("anisomem audit testbed_", ["testbed_epsilon", "testbed_velocity"]),
        ("anisomem run experiment=quick", ["experiment=quickstart"]),
        ("anisomem run -v model=sd1", ["model=sd14", "model=sd15"]),
        ("anisomem run see", ["seeds="]),
        ("anisomem run dry_run=", ["dry_run=true", "dry_run=false"]),
        ("anisomem mitigate trial.", ["trial.steps=", "trial.guidance="]),
        ("anisomem run model.dt", ["model.dtype="]),
        ("anisomem run detector.wen.", ["detector.wen.n=", "detector.wen.steps="]),
        ("anisomem run detector.bright", ["detector.bright_ending.", "detector.bright_mask."]),
        ("anisomem run detector=[", ["detector=[wen", "detector=[jeon"]),
        ("anisomem run 'detector=[wen,anisotropy_n", ["detector=[wen,anisotropy_norm"]),
        ("anisomem run detector=\\[wen,anisotropy_n", ["detector=[wen,anisotropy_norm"]),
        ("anisomem multirun model=testbed_v", ["model=testbed_velocity"]),
    ],
)
def test_a_line_is_completed(line, some, capsys, monkeypatch):
    found = offered(line, capsys, monkeypatch)
    assert set(some) <= set(found)
    typed = _split(line)[1]
    assert all(word.startswith(typed) for word in found)


def test_chosen_members_are_offered_once_and_own_ones_too(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "detector"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("mine:\n  _target_: mine.Mine\n  weight: 2\n")
    monkeypatch.chdir(tmp_path)
    values = [item.value for item in overrides("detector=[wen,")]
    expected = [*catalog.names("detector"), "mine"]
    assert values == [f"detector=[wen,{name}" for name in expected if name != "wen"]
    assert [item.value for item in overrides("detector.mine.")] == ["detector.mine.weight="]


def test_a_scan_takes_a_file_by_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    assert "mine.txt" in offered("anisomem scan mi", capsys, monkeypatch)
    assert "calibration=mine.txt" in offered("anisomem scan calibration=m", capsys, monkeypatch)
    assert "mine.txt" not in offered("anisomem run mi", capsys, monkeypatch)
    (tmp_path / "trial.txt").touch()
    assert offered("anisomem scan tri", capsys, monkeypatch) == ["trial.txt"]


def test_paths_are_completed(tmp_path, monkeypatch):
    (tmp_path / "prompts.csv").write_text("")
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [item.value for item in overrides("dataset.path=p")] == [
        "dataset.path=pictures/",
        "dataset.path=prompts.csv",
    ]
    assert [item.value for item in overrides(f"runs={tmp_path}/pi")] == [
        f"runs={tmp_path}/pictures/"
    ]
    assert overrides("runs=nowhere/at/all") == []


@pytest.mark.parametrize(
    ("line", "words", "last"),
    [
        ("anisomem ", ["anisomem"], ""),
        ("anisomem ru", ["anisomem"], "ru"),
        ("anisomem run 'seeds=[1, 2", ["anisomem", "run"], "seeds=[1, 2"),
        ("anisomem run 'seeds=[1,2]' x", ["anisomem", "run", "seeds=[1,2]"], "x"),
        ('anisomem generate "a cat" ', ["anisomem", "generate", "a cat"], ""),
        ("anisomem table my\\ run", ["anisomem", "table"], "my run"),
    ],
)
def test_a_line_is_split_as_a_shell_does(line, words, last):
    assert _split(line) == (words, last)


def in_bash(line):
    """What bash would put in the place of its current word, by the script that a user sources."""
    source = f"""
source <({VARIABLE}=bash_source {BIN}/anisomem)
compopt() {{ :; }}
COMP_LINE="$1" COMP_POINT=${{#1}}
read -ra COMP_WORDS <<< "${{1//=/ = }}"
[[ "$1" == *[[:space:]] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_anisomem_completion {BIN}/anisomem
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", source, "bash", line],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_replaces_what_stands_behind_the_equals_sign():
    assert in_bash("anisomem ta") == ["table"]
    assert in_bash("anisomem run experiment=quick") == ["quickstart"]
    assert in_bash("anisomem run model=testbed_epsilon logger=") == ["wandb"]


def test_zsh_gets_a_script_that_defines_the_same_function(capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, "zsh_source")
    assert main([]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef anisomem\n_anisomem_completion() {")
    assert f"{VARIABLE}=zsh_complete anisomem" in script
    monkeypatch.setenv(VARIABLE, "csh_source")
    assert main([]) == 1
