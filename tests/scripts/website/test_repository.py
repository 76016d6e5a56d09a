"""What pages link to outside docs/ has a place on the site, and links lead there."""

import json
import posixpath
import re

import pytest

from scripts.website import repository
from scripts.website.repository import ROOT, Mirror


@pytest.mark.parametrize(
    ("link", "at"),
    [
        ("[a](../results/audit.md)", "repository/results/audit.md"),
        ("[a](../results/audit.md#part)", "repository/results/audit.md#part"),
        ("[a](../anisomem/detection/needs.py)", "repository/anisomem/detection/needs.py.md"),
        ("[a](../baselines)", "repository/baselines/index.md"),
        ("[a](../anisomem/testbed/epsilon)", "repository/anisomem/testbed/epsilon/README.md"),
        ("[a](../examples/quickstart.ipynb)", "repository/examples/quickstart.ipynb.md"),
        ("[a](../README.md#use)", "index.md#use"),
        ("[a](../CONTRIBUTING.md)", "contributing.md"),
        ("[a](scale.md)", "scale.md"),
    ],
)
def test_a_link_leads_to_the_place_on_the_site(link, at):
    mirror = Mirror()
    assert mirror.rewritten(link, "docs/page.md", "page.md") == f"[a]({at})"
    place = at.partition("#")[0]
    assert (place in mirror.made) == place.startswith("repository/")


def test_a_link_from_a_page_of_the_top_leads_into_docs():
    rewritten = Mirror().rewritten("[a](docs/scale.md#ray)", "CHANGELOG.md", "changelog.md")
    assert rewritten == "[a](scale.md#ray)"
    below = Mirror().rewritten(
        "![a](x/../../audit.md)", "results/sweeps/a.md", "repository/r/s/a.md"
    )
    assert below == "![a](../../results/audit.md)"


@pytest.mark.parametrize(
    "text",
    [
        "`[a](../baselines)`",
        "```\n[a](../baselines)\n```",
        "[a](https://x.y/../baselines)",
        "[a](#b)",
        "[a](../nowhere)",
        "[a](../.venv)",
    ],
)
def test_code_other_hosts_and_what_is_not_there_stay_as_they_are(text):
    mirror = Mirror()
    assert mirror.rewritten(text, "docs/page.md", "page.md") == text
    assert mirror.made == {}


def test_what_is_made_links_to_nothing_that_is_not_there():
    mirror = Mirror()
    mirror.top()
    for page in (ROOT / "docs").glob("*.md"):
        mirror.rewritten(page.read_text(), f"docs/{page.name}", page.name)
    assert len(mirror.made) > 100
    for at, made in mirror.made.items():
        for target in re.findall(r"\]\(([^)\s#]+)", repository._CODE.sub("", made.text or "")):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
            there = place in mirror.made or (ROOT / "docs" / place).exists()
            assert there or "://" in target or place.startswith("reference/"), (at, target)


def test_a_folder_lists_what_the_repository_has_and_what_that_says():
    page = repository.listing("conf/logger")
    assert "- [wandb.yaml](wandb.yaml)" in page
    page = repository.listing("baselines")
    assert "- [wen.py](wen.py): Norm of the guidance vector over the first steps." in page
    assert "__init__" not in page and "__pycache__" not in page


def test_a_notebook_shows_its_text_code_and_what_came_out():
    picture = {"data": {"image/png": "AAAA\nBBBB", "text/plain": ["<Figure>"]}}
    table = {"data": {"text/html": ["<table>\n", "\n", "</table>"], "text/plain": ["frame"]}}
    code = {
        "cell_type": "code",
        "source": ["f(x)"],
        "outputs": [picture, table, {"text": ["out\n"]}],
    }
    notebook = {"cells": [{"cell_type": "markdown", "source": ["# Title"]}, code]}
    page = repository.cells(json.dumps(notebook))
    assert page.startswith("# Title\n\n```python\nf(x)\n```\n")
    assert 'src="data:image/png;base64,AAAABBBB"' in page
    assert '<div class="output">\n<table>\n</table>\n</div>' in page
    assert "```text\nout\n```" in page
    assert "<Figure>" not in page and "frame" not in page
