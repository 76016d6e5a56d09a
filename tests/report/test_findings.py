"""The page and the README of what is no table of a run: sweeps, trade-offs, the geometry."""

from dataclasses import replace

import numpy as np
import pytest

from anisomem.report import findings
from anisomem.report.findings import Findings, Part
from anisomem.report.folder import Folder
from anisomem.report.table import Table
from tests.conftest import picture

WIDE = Table("Lines", ["value", *(f"column {i}" for i in range(15))], [["0.9"] * 16] * 40, ["So."])
FOUND = Findings(
    "A sweep: small on captions",
    "What varies is <b>said</b> here.",
    ["small on captions: 3 prompts"],
    [
        Part("captions", "small on captions", "a" * 64, {"draws": 10}),
        Part("more-captions", "small on more", "b" * 64, {"draws": 20}),
    ],
    [WIDE, replace(WIDE, title="Another")],
    {"": "The forest.", "curve": "The curve.", "matrix": "The matrix.", "sheet": "The sheet."},
    key="value",
)
FIGURES = ["captions", "curve-captions", "curve-more-captions", "figures/more-captions-sheet"]


@pytest.fixture
def folder(tmp_path):
    with Folder(tmp_path, "sweep") as written:
        saved = {}
        (tmp_path / "figures").mkdir()
        for name in [*FIGURES, "matrix"]:
            saved[name] = tmp_path / f"{name}.png"
            saved[name].write_bytes(picture(np.full((60, 900, 3), 200, np.uint8)))
            written.add(saved[name])
        written.table("table", WIDE)
        findings.write(FOUND, written, saved, "anisomem sweep n")
    return tmp_path


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_every_figure_stands_with_its_part_and_caption(folder, browser, size):
    page = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((folder / "report.html").as_uri())
    shown = page.evaluate(
        """[...document.querySelectorAll("figure")].map((figure) => {
            const groups = [...document.querySelectorAll("h2")];
            const before = groups.filter((head) =>
                head.compareDocumentPosition(figure) & Node.DOCUMENT_POSITION_FOLLOWING);
            return [before.at(-1).textContent, figure.querySelector("figcaption").textContent];
        })"""
    )
    assert shown == [
        ["Figures", "The matrix."],
        ["small on captions", "The forest."],
        ["small on captions", "The curve."],
        ["small on more", "The curve."],
        ["small on more", "The sheet."],
    ]
    assert page.get_by_text("What varies is <b>said</b> here.").is_visible()
    assert page.get_by_text("anisomem sweep n").is_visible()
    assert page.locator("details summary").all_text_contents()[-1].startswith("small on more")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.close()
    assert wrong == []


def test_the_readme_has_the_printed_tables_and_the_figures(folder):
    text = (folder / "README.md").read_text()
    assert WIDE.section() in text and "## Another" not in text
    assert "# A sweep: small on captions" in text and "- small on captions: 3 prompts" in text
    for name in [*FIGURES, "matrix"]:
        assert f"]({name}.png)" in text
    assert text.index("(matrix.png)") < text.index("## small on captions")
    assert text.index("## small on more") < text.index("(curve-more-captions.png)")


def test_a_page_that_fails_costs_no_readme(folder, monkeypatch, caplog):
    def fails(*_, **__):
        raise ValueError("no template")

    monkeypatch.setattr("anisomem.report.page.rendered", fails)
    with Folder(folder, "sweep") as written:
        written.table("table", WIDE)
        findings.write(FOUND, written, {}, "")
    assert "report.html is left out: ValueError: no template" in caplog.text
    assert not (folder / "report.html").exists() and (folder / "README.md").exists()
