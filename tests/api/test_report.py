"""A report shows itself: as text, in a notebook, in figures and on a page."""

import re
import subprocess
import sys

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import anisomem


@pytest.fixture(scope="module")
def report(numbers):
    labels, scores, clusters = numbers
    return anisomem.evaluate(labels, scores, clusters, draws=200)


def test_it_is_its_table_as_text(report):
    assert repr(report) == str(report)
    assert "| detector | n | AUC " in str(report) and "model unknown, prompts given" in str(report)


def test_a_notebook_shows_the_whole_table_and_nothing_of_it_is_markup(numbers):
    labels, scores, clusters = numbers
    named = {"<b>mine</b>": scores["mine"], "b": scores["theirs"]}
    page = anisomem.evaluate(labels, named, clusters, draws=200)._repr_html_()
    assert "&lt;b&gt;mine&lt;/b&gt;" in page and "<b>mine" not in page
    assert re.findall(r"<th>(.*?)</th>", page)[:6] == [
        *("prompts", "model", "detector", "n", "AUC", "TPR@1%FPR")
    ]
    assert page.count("<tr>") == 3


def test_figures_show_themselves_and_stay_out_of_pyplot(report, rendered):
    before = pyplot.get_fignums()
    for name in ("roc", "forest", "distributions", "critical_difference", "verdicts"):
        figure = report.figure(name)
        assert name in report.figures and isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG") and pyplot.get_fignums() == before


def test_figures_leave_the_users_own_settings_alone():
    code = (
        "import anisomem, matplotlib as mpl; before = dict(mpl.rcParams); "
        "r = anisomem.evaluate([1, 0] * 30, {'$a$': range(60), 'b': range(60)}, draws=100); "
        "f = r.figure('forest'); "
        "texts = [t.get_text() for t in f.axes[0].get_yticklabels()]; "
        "changed = [k for k in before if mpl.rcParams[k] != before[k] and 'backend' not in k]; "
        "print(texts, changed)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "['$a$', 'b'] []", done.stderr


def test_figures_that_there_are_not_are_one_line(report, one_line):
    assert "did you mean 'roc'?" in one_line(report.figure, "rock")
    assert "does not apply" in one_line(report.figure, "cost")


def test_one_detector_has_no_pairs(numbers, one_line):
    labels, scores, _ = numbers
    alone = anisomem.evaluate(labels, scores["mine"], draws=200)
    assert alone.pairs.empty and "verdicts" not in alone.figures
    one_line(alone.figure, "verdicts")


def test_it_writes_what_a_run_leaves(report, tmp_path):
    page = report.write(tmp_path / "out")
    assert page.read_text().count("<table") >= 3
    for name in ("table.csv", "table.md", "table.json", "scores.csv", "roc-given.svg", "more.md"):
        assert (tmp_path / "out" / name).is_file(), name
