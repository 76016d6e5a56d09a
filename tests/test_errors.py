"""What escapes is one line, and what a message advises can be typed."""

import ast
import errno
import inspect
import re
import signal
from pathlib import Path

import pytest

import anisomem
from anisomem import baselines
from anisomem.config import catalog, schema
from anisomem.config.overrides import read
from anisomem.errors import UserError, concerning, one_of, reported

PACKAGES = [Path(package.__file__).parent for package in (anisomem, baselines)]
API = Path(anisomem.__file__).parent / "api"
ADVICE = re.compile(r"\b(give|set|use|try|choose|leave)( \w+)? *'?$")


def raises(error):
    def action():
        raise error

    return action


def test_an_unexpected_error_is_one_line_with_its_place_and_a_traceback_in_a_file(capsys):
    def action():
        with concerning("detector.mine"):
            raise ZeroDivisionError("no\nfolds")

    assert reported(action) == 3
    (line,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(
        r"anisomem: detector\.mine: ZeroDivisionError: no folds \((.+), line \d+\); "
        r"the traceback is in (\S+), ANISOMEM_DEBUG=1 prints it",
        line,
    )
    assert found[1] == __file__
    file = Path(found[2])
    assert "Traceback" in file.read_text() and "raise ZeroDivisionError" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0  # nobody else reads what a command was given
    file.unlink()


def test_debug_prints_tracebacks(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ANISOMEM_DEBUG", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert reported(raises(RuntimeError("x"))) == 3
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "the traceback is above" in printed
    assert reported(raises(UserError("y"))) == 2
    assert "Traceback" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_has_no_traceback_file_and_still_one_line(capsys, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    assert reported(raises(OSError(errno.ENOSPC, "No space left on device", "/x"))) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'/x'" in error and "ANISOMEM_DEBUG=1 prints" in error


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\u2028b", "a\0b", "a\udc80b"])
def test_a_message_stays_one_line_whatever_it_quotes(text, capsys):
    assert reported(raises(UserError(text))) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "\x1b" not in error and "\0" not in error


def test_codes():
    assert reported(lambda: 1) == 1
    assert reported(raises(KeyboardInterrupt())) == 128 + signal.SIGINT


def test_a_choice_that_is_no_text():
    with pytest.raises(UserError, match=r"mode must be one of a, b; got \[1\]"):
        one_of("mode", [1], "ab")


def messages(of_functions=False):
    """The texts of user errors as written, with x for what is put in.

    Those of the functions for programs advise arguments, all others overrides.
    """
    for package in PACKAGES:
        for file in sorted(package.rglob("*.py")):
            if (file.parent == API) != of_functions:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                if named and node.func.id == "UserError" and node.args:
                    yield file.name, "".join(parts(node.args[0]))


def parts(node):
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.FormattedValue):
        yield "x"
    else:
        for child in ast.iter_child_nodes(node):
            yield from parts(child)


def test_every_override_that_a_message_advises_can_be_typed():
    roots = {*schema.Schema.__dataclass_fields__, *catalog.GROUPS}
    checked = 0
    for file, text in messages():
        quoted = re.findall(r"'([a-z_]+[\w.]*=[^']*)'", text)
        bare = re.findall(r"(?<![\w.'\"$-])([a-z_]+(?:\.\w+)*=[^\s,;'\"()]+)", text)
        for word in [*quoted, *bare]:
            key = word.partition("=")[0]
            if key == "x" or "${" in word:
                continue
            if key.partition(".")[0] not in roots | {"name"}:  # what a file says
                before = text.partition(word)[0]
                assert not ADVICE.search(before), (file, text)
                continue
            if key != "weights":
                read([word])
            assert word in quoted or not set(word) & set("[]{}"), (file, text)
            checked += 1
    assert checked > 30
    assert not any(
        "weights=equal" in text and ".weights=equal" not in text for _, text in messages()
    )


def test_every_argument_that_a_message_advises_is_one():
    functions = (anisomem.load_model, anisomem.score, anisomem.compare, anisomem.evaluate)
    known = {name for one in functions for name in inspect.signature(one).parameters}
    advised = [
        (word, text)
        for _, text in messages(of_functions=True)
        for word in re.findall(r"\b([a-z_]+)=", text)
    ]
    assert len(advised) >= 3
    assert [(word, text) for word, text in advised if word not in known] == []
