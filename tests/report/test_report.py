"""What a run leaves, and report.html as a reader meets it: offline, at a desk and on a phone."""

import csv
import json
import shlex
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from matplotlib import pyplot as plt

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.cli.outcome import finish
from anisomem.report import figures, report, tables
from anisomem.report import page as pages
from anisomem.report.colours import colours_of

DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request, browser, gallery_run):
    """The page of a run; what goes wrong while it is used fails the test."""
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    wrong = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))

    def only_this_file(route):
        if not route.request.url.startswith(("file:", "data:")):
            wrong.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    opened.route("**/*", only_this_file)
    opened.goto((gallery_run[1] / "report.html").as_uri())
    yield opened
    opened.close()
    assert wrong == []


def column(page, heading, table=0):
    """The texts of a column, by its heading."""
    return page.evaluate(
        """([table, heading]) => {
            const found = document.querySelectorAll("table")[table];
            const at = [...found.tHead.rows[0].cells]
                .findIndex((cell) => cell.textContent.trim() === heading);
            return [...found.tBodies[0].rows].map((row) => row.cells[at].textContent.trim());
        }""",
        [table, heading],
    )


def click(page, heading):
    page.locator("table").first.get_by_role("button", name=heading, exact=True).click()


def test_everything_is_there(page, gallery_run):
    rows = json.loads((gallery_run[1] / "table.json").read_text())["rows"]
    assert column(page, "detector") == [row["detector"] for row in rows]
    images = page.locator("img")
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 1)")
    # figures, a colour scale, and for four prompts three pictures, a map, and two trained on
    assert images.count() == 9 + 1 + 4 * 4 + 2
    assert page.get_by_text("no picture of its own").count() == 2
    for link in page.locator("a[href^='#']").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_the_page_begins_with_what_it_says_in_words(page, gallery_run):
    said = page.locator("#said")
    table = page.locator("table").first
    assert said.bounding_box()["y"] < table.bounding_box()["y"]
    rows = json.loads((gallery_run[1] / "table.json").read_text())["rows"]
    largest = {row["detector"]: row for row in rows}  # the last one of a name
    best = max(largest.values(), key=lambda row: row["auc"])
    name = f"{best['detector']} (n={best['n']})" if best["n"] else best["detector"]
    assert f": {name}, {best['auc']:.3f} [" in said.inner_text()
    names = [text.strip() for text in said.locator("dt").all_inner_texts()]
    assert names == [
        "Model",
        "Revision",
        "Prompts",
        "Noise",
        "Recorded",
        "Page written",
        "Command",
    ]
    command = said.locator("dd.typed").inner_text()
    assert command == shlex.join(["anisomem", "run", *gallery_run[0]])


def test_every_detector_leads_to_what_it_is(page):
    links = page.locator("table").first.locator("td a")
    assert links.all_inner_texts() == column(page, "detector")
    links.first.click()
    described = page.locator(":target")
    assert described.locator("dt").inner_text() == links.first.inner_text()
    assert len(described.locator("dd").inner_text().split(". ")) >= 2


def test_the_main_table_is_whole_and_its_first_numbers_are_in_sight(page):
    box = page.locator(".scroll").first
    assert box.evaluate("(box) => box.scrollHeight - box.clientHeight") <= 1
    width = page.viewport_size["width"]
    heads = {h.inner_text().strip(): h for h in page.locator("table").first.locator("th").all()}
    assert not {"prompts", "model"} & set(heads)  # of one case the title says them
    shown = heads["AUC"].bounding_box()
    assert shown["x"] >= 0 and shown["x"] + shown["width"] <= width
    cell = page.locator("table").first.locator("tbody tr").first.locator("td").nth(2)
    within = cell.bounding_box()
    assert within["x"] + within["width"] <= width


def test_figures_leave_no_hole_beside_tall_ones(page):
    boxes = page.evaluate(
        """[...document.querySelectorAll(".figures")].map((box) =>
            [...box.querySelectorAll("figure")].map((f) => {
                const r = f.getBoundingClientRect();
                return [f.className, Math.round(r.left), r.top, r.bottom];
            }))"""
    )
    for figures_of_one in boxes:
        names = [name for name, *_ in figures_of_one]
        assert set(names[names.index("across") :]) == {"across"}  # the wide ones at the end
        by_column = {}
        for _, left, top, bottom in figures_of_one[: names.index("across")]:
            by_column.setdefault(left, []).append((top, bottom))
        assert len(by_column) == (1 if page.viewport_size["width"] < 1000 else 2)
        for column_of_one in by_column.values():
            pairs = pairwise(column_of_one)
            assert all(0 <= below[0] - above[1] < 4 for above, below in pairs)


def test_numbers_sort_from_the_largest_and_missing_cells_stay_last(page):
    click(page, "AUC")
    areas = [float(text.split()[0]) for text in column(page, "AUC")]
    assert areas == sorted(areas, reverse=True) and len(set(areas)) > 1
    click(page, "AUC")
    assert column(page, "AUC")[0].startswith(f"{min(areas):.3f}")
    for _ in range(2):
        click(page, "n")
        assert column(page, "n")[-1] == "–"
    assert column(page, "n")[:-1] == ["1", "1", "4", "4"]
    click(page, "detector")
    assert column(page, "detector") == sorted(column(page, "detector"))
    assert page.locator("th[aria-sort]").count() == 1


def test_page_is_no_wider_than_its_window_and_figures_are_large(page):
    width = page.viewport_size["width"]
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    widths = page.evaluate(
        "[...document.querySelectorAll('.figures img')].map((i) => i.offsetWidth)"
    )
    assert min(widths) >= 400


def test_detector_stays_in_sight_while_a_table_scrolls(page):
    table = page.locator(".scroll").first
    table.evaluate("(box) => { box.scrollLeft = box.scrollWidth }")
    box = table.bounding_box()
    cells = page.locator(".scroll tbody tr").first.locator("td")
    stuck = [
        i
        for i, cell in enumerate(cells.all())
        if cell.evaluate("(cell) => getComputedStyle(cell).position") == "sticky"
    ]
    assert stuck == [0]  # one column alone, the detector's
    first = cells.first.bounding_box()
    assert first["x"] >= box["x"] - 1
    assert first["x"] + first["width"] < box["x"] + box["width"] / 2


@pytest.fixture
def case(gallery_run):
    """The run's case, for each test anew."""
    (file,) = gallery_run[1].glob("*/config.yaml")
    return Results(Case.stored(file))


def few_figures(monkeypatch, *draws):
    monkeypatch.setattr(figures, "FIGURES", {draw.__name__: draw for draw in draws})
    monkeypatch.setattr(figures, "OF_PAIRS", {})


def test_every_prompt_has_its_scores_and_ranks(gallery_run, case):
    with (gallery_run[1] / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == list(case.prompts.ids)
    rows = json.loads((gallery_run[1] / "table.json").read_text())["rows"]
    for row, detector in zip(rows, case.detectors, strict=True):
        found = [float(line[detector.key]) for line in lines]
        assert found == case.scores[detector.key][0].tolist()
        # the AUC from the ranks alone, by Mann and Whitney
        ranks = [int(line[f"{detector.key}, rank"]) for line in lines]
        assert min(ranks) == 1 and sorted(ranks) == sorted(
            1 + sum(other > score for other in found) for score in found
        )
        wins = sum(
            (a < b) + (a == b) / 2
            for a, one in zip(ranks, lines, strict=True)
            if one["label"] == "memorized"
            for b, other in zip(ranks, lines, strict=True)
            if other["label"] == "other"
        )
        assert wins / 120**2 == pytest.approx(row["auc"])


def test_scores_are_printed_and_filtered(gallery_run, capsys, tmp_path):
    run = str(gallery_run[1])
    assert main(["scores", run, "wen", "--top", "3", "--label", "other"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert "wen, n=4" in lines[0] and len(lines) == 4
    assert all(line.startswith("| other ") for line in lines[1:])
    out = tmp_path / "one.csv"
    assert main(["scores", run, "--prompt", "p17", "--out", str(out)]) == 0
    with out.open() as file:
        (line,) = csv.DictReader(file)
    assert line["id"] == "p17" and "anisotropy, n=1, rank" in line
    assert main(["scores", run, "wenn"]) == 2
    assert "did you mean 'wen'?" in capsys.readouterr().err


def test_the_model_is_in_tables_and_titles(gallery_run, case):
    card = json.loads((gallery_run[1] / "table.json").read_text())["cases"][0]["model"]
    assert card["name"] == case.model == case.config.model["path"].rsplit("/", 1)[-1]
    assert card["sha256"] == case.case.content["model"]["path"] and len(card["sha256"]) == 64
    for name in ("table.md", "table.tex", "table.csv"):
        first = (gallery_run[1] / name).read_text().splitlines()
        assert "model" in next(line for line in first if "prompts" in line)
    title = f"<h1>Memorization detectors: {case.model} on prompts</h1>"
    assert title in (gallery_run[1] / "report.html").read_text()


def test_what_fails_costs_itself_and_no_table(case, tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("made to fail")

    few_figures(monkeypatch, broken, figures.forest)
    monkeypatch.setattr("anisomem.report.gallery.shown", broken)
    monkeypatch.setattr(tables, "blocks_table", broken)
    drawn = report.write([case], tmp_path)
    assert list(drawn["prompts"]) == ["forest"]
    assert [message.split(" is left out: ")[0] for message in caplog.messages] == [
        "table blocks-of-prompts",
        "figure broken-prompts",
        "gallery of prompts",
    ]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "table.json", "scores.csv", "more.md", "report.html"} <= names
    monkeypatch.setattr(report, "html", broken)
    report.write([case], tmp_path)  # and the page of the earlier report goes with its figures
    assert not (tmp_path / "report.html").exists() and (tmp_path / "table.md").exists()


def test_a_report_removes_what_an_earlier_one_left(case, tmp_path, monkeypatch):
    few_figures(monkeypatch, figures.forest)
    (tmp_path / "forest-prompts.txt").write_text("mine")
    report.write([case], tmp_path)
    case.case.name = "renamed"
    report.write([Results(case.case)], tmp_path)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"forest-renamed.png", "forest-renamed.svg", "pairs-on-renamed.csv"} <= names
    assert [name for name in names if "prompts" in name] == ["forest-prompts.txt"]


def test_a_logger_that_fails_is_a_line(case, monkeypatch, capsys, caplog):
    def refuses(*_):
        raise ValueError("no such project")

    monkeypatch.setattr(report, "write", lambda *_: {})
    assert finish([case.case], case.folder, SimpleNamespace(log=refuses)) == 0
    assert "| anisotropy " in capsys.readouterr().out
    assert "left out: ValueError: no such project" in caplog.text


def test_names_of_blocks_are_no_formulas(case, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "MOST_BLOCKS", 4)
    blocks = [f"$\\foo$ {i % 20} " + "long " * 20 for i in range(len(case.prompts))]
    case.prompts = replace(case.prompts, blocks=blocks)
    figure = figures.norm_cosine(case, colours_of([case]))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0].startswith("other: $\\foo$ ") and labels[0].endswith("…")
    assert len(labels) < 20 and "more blocks" in " ".join(labels)
    figure.draw_without_rendering()
    plt.close(figure)


def test_cases_stand_side_by_side_and_cost_no_table_where_they_cannot(
    gallery_run, tmp_path, monkeypatch, caplog
):
    (file,) = gallery_run[1].glob("*/config.yaml")
    both = [Results(Case.stored(file)) for _ in range(2)]
    both[1].name = "other"
    drawn = report.write(both, tmp_path)
    assert drawn[report.TOGETHER]["across"] == tmp_path / "across.png"
    assert "## Side by side" in (tmp_path / "more.md").read_text()
    content = (tmp_path / "report.html").read_text()
    assert 'id="across-together"' in content
    above = [f"prompts {one.name}, model {one.model}" for one in both]
    assert all(f'<th scope="rowgroup" colspan="8"><span>{one}</span>' in content for one in above)

    def fail(cases):
        raise ZeroDivisionError("nothing to rank")

    monkeypatch.setattr(report.across, "across", fail)
    assert report.TOGETHER not in report.write(both, tmp_path)
    assert "cases side by side is left out: ZeroDivisionError: nothing to rank" in caplog.text
    assert (tmp_path / "table.md").exists() and not (tmp_path / "across.png").exists()
    assert "Side by side" not in (tmp_path / "report.html").read_text()


def test_a_page_takes_cases_out_of_the_columns():
    table = tables.Table(
        "T",
        ["prompts", "model", "detector", "n", "AUC"],
        [["p", "m", "a", "1", "0.9"], ["p", "m", "b", "4", "0.8"], ["q", "m", "a", "1", "0.7"]],
    )
    grouped = pages.grouped(table, report.KEYS)
    assert grouped.headings == ["detector", "n", "AUC"]
    assert grouped.groups == {
        "prompts p, model m": [["a", "1", "0.9"], ["b", "4", "0.8"]],
        "prompts q, model m": [["a", "1", "0.7"]],
    }
    assert (grouped.key, grouped.rows) == ("detector", 3)
    pair = pages.grouped(tables.Table("P", ["a", "b", "p"], [["x", "y", "1"]]), report.KEYS)
    assert pair.key == "a" and pair.groups == {"": [["x", "y", "1"]]}
