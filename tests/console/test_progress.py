"""What a log says of what a command is doing."""

import subprocess
import sys
import time

import pytest

from anisomem.console import progress


def eventually(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_line_says_what_is_done_and_what_is_left():
    line = progress.Lines("recording", 320, "prompt")
    assert line.line(2) == "recording: 0 of 320 prompts in 00:02"
    line.update(32)
    line._from = (32, 10.0)  # processes have loaded the model until then
    assert line.line(30) == "recording: 32 of 320 prompts in 00:30"
    line.update(32)
    assert line.line(20) == "recording: 64 of 320 prompts in 00:20, about 01:20 left"
    line.update(256)
    assert line.line(95) == "recording: 320 of 320 prompts in 01:35"
    assert progress.Lines("drawing", None, "").line(3700) == "drawing: 1:01:40 so far"


def test_a_phase_that_lasts_says_so_again_and_again(capsys):
    lines = []
    with progress.Lines("drawing", 3, "figure", first=0.01, every=0.01) as bar:
        bar.update()

        def said():
            lines.extend(capsys.readouterr().err.splitlines())
            return len(lines) >= 3

        eventually(said)
    assert all(line.startswith("anisomem: drawing: 1 of 3 figures in 00:0") for line in lines)


def test_names_are_listed_without_what_draws_bars():
    code = "import sys, anisomem.cli; sys.exit('tqdm' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_short_and_no_phase_says_nothing(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    brief = progress.phase("reading", brief=True)
    with brief, progress.bar("counting", 3, "prompt") as bar:
        bar.update(3)
    assert list(progress.over([1, 2], "going", "step")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_phase_at_once(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.phase("loading the model"):
        assert "loading the model [00:00]" in capsys.readouterr().err


def test_a_closed_stderr_is_no_obstacle(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(sys, "stderr", None)
    with progress.phase("loading"):
        pass


def test_a_phase_is_one_line_with_its_time_at_its_end(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    with progress.phase("statistics"):
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "anisomem: statistics: 00:00\n"
    with progress.bar("record", 3, "prompt", leave=True) as bar:
        bar.update(3)
    assert capsys.readouterr().err == "anisomem: record: 3 prompts in 00:00\n"
    with pytest.raises(ValueError, match="an error"), progress.phase("figures"):
        raise ValueError("an error, whose line is the only one")
    assert capsys.readouterr().err == ""
    line = progress.Lines("time", 6, "turn")
    line.update(3)
    assert line.last_line(61) == "time: 3 of 6 turns in 01:01"  # they agreed


def test_a_terminal_keeps_a_phase_and_its_time(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.phase("statistics"), progress.phase("reading", brief=True):
        pass
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("statistics [00:00]") or "statistics [00:00]" in last.split("\r")[-1]
