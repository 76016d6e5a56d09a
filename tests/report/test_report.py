"""report.html as a reader meets it: in a browser without a network, at a desk and on a phone."""

import json
import shutil

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs a chromium on the PATH")
DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


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
    assert images.count() == 8 + 1 + 4 * 4 + 2
    assert page.get_by_text("no picture of its own").count() == 2
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


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
    cells = page.locator(".scroll tbody tr").first.locator("td.key")
    lefts = [cells.nth(i).bounding_box() for i in range(2)]
    assert lefts[0]["x"] >= box["x"]
    assert lefts[1]["x"] >= lefts[0]["x"] + lefts[0]["width"] - 1
    assert lefts[1]["x"] + lefts[1]["width"] < box["x"] + box["width"] * 2 / 3
