"""The README of a report's folder shows what the table and the figures show, and leads on."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest

from anisomem.cli.main import main
from anisomem.report import readme
from anisomem.report.folder import Folder
from anisomem.report.table import Table

TABLE = Table("Areas", ["a", "b"], [["1.23", "x|y"]], ["So it is."])


def links(text):
    """What a README leads to: pictures, and other files."""
    found = re.findall(r"(!?)\[(?:\\.|[^\]\\])*\]\(([^)]+)\)", text)
    pictures = [unquote(target) for mark, target in found if mark]
    return pictures, [unquote(target) for mark, target in found if not mark]


def test_a_run_leaves_a_readme_with_its_table_and_every_figure(gallery_run):
    _, folder = gallery_run
    text = (folder / "README.md").read_text()
    assert text.startswith("# Memorization detectors: ")
    assert (folder / "table.md").read_text().partition("\n\n")[0] in text
    pictures, files = links(text)
    assert sorted(pictures) == sorted(p.name for p in folder.glob("*.png")) and len(pictures) > 4
    assert {"report.html", "table.csv", "table.json", "scores.csv", "more.md"} <= set(files)
    assert all((folder / name).is_file() for name in files)
    (command,) = re.findall(r"```bash\n(.*)\n```", text)
    assert command.startswith("anisomem run experiment=quickstart model=diffusers_folder ")
    assert "'detector=[wen,anisotropy,random]'" in command
    # Where it was run, and by how many, changes no number.
    assert "runs=" not in command and "workers=" not in command


def test_a_finished_run_writes_a_readme_that_is_missing(gallery_run, rendered, capsys):
    overrides, folder = gallery_run
    before = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    assert main(["run", *overrides]) == 0
    assert (folder / "README.md").read_text() == before


def test_a_readme_of_somebody_else_stays(tmp_path, caplog):
    def make(names):
        return "ours\n"

    (tmp_path / "README.md").write_text("theirs\n")
    with Folder(tmp_path, "report") as folder:
        folder.readme(make)
    assert (tmp_path / "README.md").read_text() == "theirs\n"
    assert "is not a report's, and stays as it is" in caplog.text
    (tmp_path / "README.md").unlink()
    for _ in range(2):  # its own it writes again
        with Folder(tmp_path, "report") as folder:
            folder.readme(make)
        assert (tmp_path / "README.md").read_text() == "ours\n"


def test_texts_are_texts_and_names_are_links(tmp_path):
    figures = {"# One [model]": [readme.Drawn("roc-a b](x).png", "*Curves* of <b>all</b>.")]}
    names = ["table.csv", "x.csv"]
    text = readme.readme("A <b>title</b>", ["- a line"], [TABLE], figures, "", names)
    assert r"# A \<b>title\</b>" in text and r"- \- a line" in text
    pictures, files = links(text)
    assert pictures == ["roc-a b](x).png"] and files == ["table.csv", "x.csv"]
    assert r"\*Curves\* of \<b>all\</b>." in text and TABLE.section() in text
    assert "Made by" not in text  # no command is at work


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "-q", "seeds=[1,2]", "runs=/home/me"], "anisomem run 'seeds=[1,2]'"),
        (["sweep", "n", "+workers=3", "draws=5", "-v"], "anisomem sweep n draws=5"),
        (["table", "runs/a b", "--out", "`x`"], "anisomem table 'runs/a b' --out '`x`'"),
    ],
)
def test_the_command_is_the_one_that_was_typed(words, line):
    assert readme.shortened(shlex.join(["anisomem", *words])) == line
    assert readme.shortened("") == ""


def test_of_each_kind_of_report_there_is_a_word(gallery_run):
    folder = Path(gallery_run[1])
    written = {file.name for file in folder.iterdir() if file.is_file()}
    assert set(readme.FILES) - {"scores-by-seed.parquet"} <= written
