"""What the tutorial says is run as it stands, and what it shows is what comes out."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from random import choice

import pytest

from anisomem.cli.main import main
from anisomem.config import catalog
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.sdxl import StableDiffusionXL

DOCS = Path(__file__).parent.parent / "docs"
BIN = Path(sys.executable).parent


def blocks(file, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.DOTALL | re.MULTILINE)


def rows(text, first):
    """The cells of every line of a table that begins so."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_python_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(DOCS / "python.md", "python"):
        exec(block, names)
    assert set(names["report"].frame["detector"]) == {"mine", "theirs"}
    assert len(names["scores"]) == 2 and not list(tmp_path.iterdir())


def test_python_of_the_first_page_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(DOCS.parent / "README.md", "python")
    names = {}
    exec(block, names)
    assert set(names["report"].frame["detector"]) == {"wen", "noise_alignment"}
    assert len(names["scores"]) == 2 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_add_a_detector(tmp_path, start):
    page = DOCS / "add-a-detector.md"
    # On one core a run starts no further processes, each of which imports everything anew.
    one_core = {choice(sorted(os.sched_getaffinity(0)))}

    def shell(script):
        said = []
        for program, *words in map(shlex.split, script.splitlines()):
            if program == "anisomem":
                begun = start(*words, cwd=tmp_path, cores=one_core)
            else:
                command = [BIN / program, *words]
                begun = subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
            out, err = begun.communicate()
            assert begun.returncode == 0, out + err
            said.append(out)
        return "".join(said)

    shortest, new, check, run, compare, without_files = blocks(page, "bash")
    whole, method, of_your_own = blocks(page, "python")

    # The shortest one is a file that runs, and stands first.
    (tmp_path / "mine.py").write_text(whole)
    assert {row[0] for row in rows(shell(shortest), "mine ")} == {"mine"}
    assert page.read_text().index(whole) == page.read_text().index("```python\n") + 10

    assert "wrote score_change.py" in shell(new)
    assert method in (tmp_path / "score_change.py").read_text()
    checked = shell(check)
    assert "FAILED" not in checked and checked.count("ok      cost           2 NFE") == 2
    assert "12 passed" in checked

    (tmp_path / "test_page.py").write_text(of_your_own)
    assert "12 passed" in shell("pytest -q test_page.py")

    # All but the seconds, whose digits are the machine's.
    table, shown = shell(run), page.read_text()
    assert "model testbed_epsilon, prompts testbed_epsilon\n" in table
    printed = [rows(text, "detector ")[0] for text in (table, shown)]
    assert printed[0][: len(printed[1])] == printed[1]
    names = ("score_change ", "wen ", "anisotropy ")
    expected = [row[: len(printed[1])] for name in names for row in rows(table, name)]
    assert [row for name in names for row in rows(shown, name)] == expected
    assert len(expected) == 6

    part = "part all prompts, memorized/other 98/202\n"
    first, page_first = (
        text.split(part)[1].split("\npart ")[0] for text in (shell(compare), shown)
    )
    (header,), (columns,) = rows(first, "a "), rows(page_first, "a ")
    at = [header.index(column) for column in columns]
    lines = [[row[i] for i in at] for row in rows(first, "score_change")]
    assert rows(page_first, "score_change") == lines and len(lines) == 2

    alone = shell(without_files)
    assert "FAILED" not in alone
    assert rows(alone, "rows ") == [["rows", "3"]]  # of the table: wen's two n and the new one


@pytest.mark.slow
def test_the_first_table_is_the_one_that_comes_out(tmp_path, monkeypatch, capsys):
    page = DOCS / "first-table.md"
    monkeypatch.chdir(tmp_path)
    run, compare, scores, generate, again = (
        [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("anisomem ")]
        for block in blocks(page, "bash")
    )

    def printed(words):
        assert main(words) == 0
        return capsys.readouterr().out

    # All but the seconds, whose digits are the machine's.
    (words,) = run
    table, shown = printed([*words, "workers=1"]), page.read_text()
    names = ("detector ", "anisotropy ", "wen ", "jeon ", "text_only ", "random ")
    kept = [row for name in names for row in rows(shown, name)]
    assert [row[:6] for name in names for row in rows(table, name)] == kept and len(kept) == 9

    assert "jeon, n=1" in printed(*compare) and len(rows(printed(*scores), "")) > 5
    assert "wen" in printed(*generate)
    assert again == run and rows(printed(words), "wen ") == rows(table, "wen ")


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_places_and_classes_that_the_page_of_models_names_are_there():
    page = (DOCS / "models.md").read_text()
    for variant in ("epsilon", "velocity"):
        folder = DOCS.parent / "anisomem" / "testbed" / variant
        assert f"`anisomem/testbed/{variant}`" in page and (folder / "model_index.json").exists()
        assert Path(catalog.testbed(variant)).samefile(folder)
    for file, name in (("diffusers_unet", DiffusersUNet), ("sdxl", StableDiffusionXL)):
        assert f"{file}.py`" in page and f"`{name.__name__}`" in page
        assert name.__module__ == f"anisomem.models.{file}"
    target = f"_target_: {DiffusersUNet.__module__}.{DiffusersUNet.__name__}.load\n"
    assert target in (catalog.folder() / "model" / "sd14.yaml").read_text()
    named = re.findall(r"`((?:anisomem|conf|tests)/[\w/.]+\.(?:py|yaml))`", page)
    examples = {"anisomem/models/auraflow.py", "conf/model/auraflow.yaml"}
    missing = {file for file in named if not (DOCS.parent / file).exists()}
    assert missing == examples
