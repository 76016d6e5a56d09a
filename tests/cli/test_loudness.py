"""``-v`` and ``-q``, before the command or behind it."""

import logging
import os
import warnings

import pytest

from anisomem.cli import listing
from anisomem.cli.main import main
from anisomem.console import terminal
from anisomem.errors import DEBUG, UNEXPECTED, UserError


@pytest.fixture
def talkative(monkeypatch):
    """``anisomem list models`` says something at every level; what it saw of the environment."""
    seen = {}

    def members(group):
        seen.update(os.environ)
        root, log = logging.getLogger(), logging.getLogger("anisomem.models")
        handlers, root.handlers = root.handlers, []  # pytest's own, put there for every test
        log.debug("a detail")
        log.info("a step")
        log.warning("a hint")
        root.handlers = handlers
        warnings.warn("a library's", UserWarning, stacklevel=1)
        return [("name", "title")]

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(listing, "_members", members)
    return seen


def both(option):
    return [[*option, "list", "models"], ["list", *option, "models"], ["list", "models", *option]]


@pytest.mark.parametrize("words", both(["-v"]) + both(["--verbose"]))
def test_verbose_says_the_steps(talkative, capsys, words):
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == "name  title\n"
    assert "anisomem: a step\n" in err and "a hint" in err and "a detail" not in err
    assert talkative[DEBUG] == UNEXPECTED and talkative["ANISOMEM_LOG"] == "INFO"


@pytest.mark.parametrize("words", both(["-vv"]) + both(["-v", "-v"]))
def test_twice_verbose_says_the_details(talkative, capsys, words):
    assert main(words) == 0
    assert "anisomem: a detail\n" in capsys.readouterr().err


@pytest.mark.parametrize("words", both(["-q"]) + both(["--quiet"]))
def test_quiet_leaves_the_results(talkative, capsys, words):
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("name  title\n", "")
    assert talkative["TQDM_DISABLE"] == "1"


def test_nothing_of_it_stays(talkative, capsys):
    before = dict(os.environ), logging.lastResort, warnings.showwarning
    level = logging.getLogger("anisomem").level
    for option in ("-vv", "-q"):
        assert main([option, "list", "models"]) == 0
        after = {k: v for k, v in os.environ.items() if k in before[0] or "ANISOMEM" in k}
        assert {k: before[0].get(k) for k in after} == after and "TQDM_DISABLE" not in os.environ
        assert (logging.lastResort, warnings.showwarning) == before[1:]
        assert logging.getLogger("anisomem").level == level


def test_verbose_shows_where_an_error_arose_that_is_not_the_users(capsys, monkeypatch):
    def failing(error):
        def members(group):
            raise error

        monkeypatch.setattr(listing, "_members", members)

    failing(UserError("no such thing"))
    for words in (["list", "models"], ["list", "models", "-v"], ["-vv", "list", "models"]):
        assert main(words) == 2
        assert capsys.readouterr().err == "anisomem: no such thing\n"
    assert main(["-v", "run", "limit=forty"]) == 2
    assert main(["-v", "list", "modles"]) == 2 and "Traceback" not in capsys.readouterr().err
    assert main(["-v", "rnu"]) == 2
    assert capsys.readouterr().err == "anisomem: no command named 'rnu'; did you mean 'run'?\n"
    failing(ZeroDivisionError("of ours"))
    assert main(["list", "models", "-v"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and "of ours (" in err
    assert err.endswith("; the traceback is above\n")
    monkeypatch.setenv(DEBUG, "1")  # for who writes a class
    failing(UserError("no such thing"))
    assert main(["list", "models", "-v"]) == 2
    assert capsys.readouterr().err.startswith("Traceback")


def test_worker_processes_have_the_level_of_the_command(monkeypatch):
    with terminal.restored():
        monkeypatch.setenv(terminal.LOG, "DEBUG")
        terminal.set_log_level()
        assert logging.getLogger("baselines").level == logging.DEBUG
    assert logging.getLogger("baselines").level == logging.NOTSET


@pytest.mark.parametrize(("option", "more"), [("-q", ["hydra/hydra_logging=none"]), ("-v", [])])
def test_a_quiet_multirun_has_no_lines_of_hydra(option, more, monkeypatch):
    seen = []
    monkeypatch.setattr("anisomem.cli.multirun.multirun", lambda words: seen.append(words) or 0)
    assert main(["multirun", option, "seeds=[1],[2]", "--config-dir=x"]) == 0
    assert seen == [[*more, "seeds=[1],[2]", "--config-dir=x"]]
