"""Where the command's words go: closed, full, or with ASCII alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{Path(sys.executable).parent / 'anisomem'} list models"


def shell(text, **environment):
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, env={**os.environ, **environment}
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stdout_is_one_line():
    done = shell(f"{COMMAND} > /dev/full")
    expected = b"anisomem: cannot write to standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_a_closed_stdout_is_one_line():
    done = shell(f"{COMMAND} >&-")
    expected = b"anisomem: cannot write to standard output: Bad file descriptor\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_a_closed_stderr_changes_nothing():
    done = shell(f"{COMMAND} 2>&-")
    assert done.returncode == 0 and b"sd14" in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error():
    done = shell(f"{COMMAND} | head -c 1; echo ' '${{PIPESTATUS[0]}}")
    assert done.stdout.split()[-1] in (b"0", b"141") and done.stderr == b""
    done = shell(f"(sleep 0.1; {COMMAND}; echo $? >&2) | true")
    assert done.stderr == b"141\n"


def test_an_ascii_terminal_gets_plain_characters():
    shown = "0.5 – 0.7 ± é → 猫"
    code = f"from anisomem.console.terminal import guarded\nwith guarded(): print({shown!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.stdout, done.stderr) == (b"0.5 - 0.7 +- e -> \\u732b\n", b"")
