"""When a report is printed again, and when it is made anew."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.report import report, standing

LIBRARIES = ("torch", "pandas", "sklearn", "scipy.stats", "scipy.sparse", "matplotlib")
Printed = namedtuple("Printed", "out err")


@pytest.fixture(scope="module")
def pristine(gallery_run, tmp_path_factory):
    """What runs a finished run again, its folder, a copy of that, and what was printed."""
    overrides, folder = gallery_run
    runs = tmp_path_factory.mktemp("standing") / "runs"
    shutil.copytree(folder, copied := runs / "quickstart")
    again = ["run", *overrides, f"runs={runs}"]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        assert main(again) == 0
    shutil.copytree(copied, kept := runs.with_name("pristine"))
    return again, copied, kept, Printed(out.getvalue(), err.getvalue())


@pytest.fixture
def finished(pristine):
    """What runs a finished run again, its report's folder, and what was printed."""
    again, folder, kept, printed = pristine
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    return again, folder, printed


@pytest.fixture
def made(monkeypatch):
    """The reports that are made."""
    calls, write = [], report.write
    monkeypatch.setattr(report, "write", lambda *given: (calls.append(given), write(*given))[1])
    return calls


def test_the_same_command_prints_the_same_and_needs_no_library_that_scores(finished):
    again, _, printed = finished
    code = (
        "import sys; from anisomem.cli.main import main; code = main(sys.argv[1:]);"
        f"print(*({{*{LIBRARIES}}} & {{*sys.modules}}), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *again], capture_output=True, text=True, check=True
    )
    assert done.stdout == printed.out
    assert done.stderr == printed.err + "\n"


def test_nothing_is_made_twice(finished, made):
    assert main(finished[0]) == 0 and not made


@pytest.mark.parametrize("setting", ["draws=150", "gallery=1", "fpr_targets=[0.1]", "workers=2"])
def test_another_setting_makes_it_anew(finished, made, setting):
    assert main([*finished[0], setting]) == 0 and len(made) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "roc-prompts.png").unlink(),
        lambda folder: (folder / "table.md").write_text("edited"),
        lambda folder: (folder / ".written-by-report.json").unlink(),
        lambda folder: next(folder.glob("*/gallery.npz")).unlink(),
        lambda folder: next(folder.glob("*/config.yaml")).unlink(),
        lambda folder: (folder / standing.FILE).write_text("[1"),
        lambda folder: (folder / standing.FILE).write_text('{"of": 3}'),
    ],
)
def test_what_has_changed_since_makes_it_anew(finished, made, capsys, change):
    again, folder, printed = finished
    change(folder)
    assert main(again) == 0 and len(made) == 1
    rows = [line for line in printed.out.splitlines() if line.startswith("| wen")]
    assert rows and all(row in capsys.readouterr().out for row in rows[:1])
    assert main(again) == 0 and len(made) == 1


def test_another_code_makes_it_anew(finished, made, monkeypatch):
    monkeypatch.setattr(standing, "code", lambda: "edited")
    assert main(finished[0]) == 0 and len(made) == 1


def test_what_is_edited_while_a_report_is_made_makes_it_anew(finished, monkeypatch):
    again, folder, _ = finished
    codes = iter(["as it began", "edited meanwhile", "edited meanwhile"])
    (folder / standing.FILE).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(standing, "code", lambda: next(codes))
        assert main(again) == 0
    assert not (folder / standing.FILE).exists()

    measured, write = next(folder.glob("*/measured.json")), report.write

    def recorded_by_another(*given):
        measured.write_text(measured.read_text() + "\n")
        return write(*given)

    with monkeypatch.context() as patched:
        patched.setattr(report, "write", recorded_by_another)
        assert main(again) == 0
    assert not (folder / standing.FILE).exists()


def test_a_file_of_the_user_that_cannot_be_read_costs_no_table(finished, made, capsys):
    again, folder, printed = finished
    next(folder.glob("*/config.yaml")).with_name("notes.txt").symlink_to(folder / "gone")
    assert main(again) == 0 and len(made) == 1
    assert capsys.readouterr().out == printed.out


def test_with_code_of_the_users_none_stands(finished, made, tmp_path, monkeypatch):
    # A number that the detector takes from another file is in no digest of its source.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weight_elsewhere.py").write_text("WEIGHT = 1.0\n")
    (tmp_path / "own_length.py").write_text(
        "from anisomem.baselines.controls import PromptLength\n"
        "from weight_elsewhere import WEIGHT\n\n\n"
        "class OwnLength(PromptLength):\n"
        "    def combine(self, recorded):\n"
        "        return WEIGHT * super().combine(recorded)\n"
    )
    again = [
        *finished[0],
        "+detector.own._target_=own_length.OwnLength",
    ]
    assert main(again) == 0 and main(again) == 0 and len(made) == 2


def test_another_report_in_the_folder_is_replaced(finished, made):
    again, folder, _ = finished
    (file,) = folder.glob("*/config.yaml")
    (case := Case.stored(file)).name = "renamed"
    report.write([Results(case)], folder)
    assert main(again) == 0 and len(made) == 2


def test_what_a_stranger_wrote_is_not_sent_to_the_terminal(finished, made, capsys):
    again, folder, _ = finished
    kept = json.loads((folder / standing.FILE).read_text())
    for table in ("\x1b[2J", "a\rb", 3):
        (folder / standing.FILE).write_text(json.dumps({**kept, "table": table}))
        assert main(again) == 0
        assert "\x1b" not in capsys.readouterr().out
    assert len(made) == 3


def test_a_figure_that_failed_is_tried_again(finished, made, monkeypatch):
    from anisomem.report import figures

    def broken(_):
        raise RuntimeError("made to fail")

    again, folder, _ = finished
    (folder / "roc-prompts.png").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(figures, "FIGURES", {"roc": broken})
        assert main(again) == 0 and len(made) == 1
    assert main(again) == 0 and len(made) == 2
    assert (folder / "roc-prompts.png").exists()
