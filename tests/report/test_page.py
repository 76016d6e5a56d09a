"""The report in a browser, as a reader opens it: no network, no errors, sorted by a click."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.cli import main

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def report(save_pipeline, tmp_path_factory):
    """The page of a run on a tiny pipeline, with a gallery."""
    folder, n = tmp_path_factory.mktemp("page"), 24
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if i % 4 < 2 else 'dog'} {i}" for i in range(n)],
        "label": ["memorized" if i % 4 < 2 else "not_memorized" for i in range(n)],
        "cluster": [i // 2 for i in range(n)],
        "block": ["made"] * n,
        "kind": ["ordinary"] * n,
        "repetitions": [2**i if i % 4 < 2 else 0 for i in range(n)],
        "reproduction_rate": [float(i % 4 < 2) for i in range(n)],
    }
    pq.write_table(pa.table(columns), folder / "prompts.parquet")
    overrides = [
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={folder / 'prompts.parquet'}",
        "detector=[anisotropy,wen,text_only]",
        "draws=200",
        "workers=1",
        "timing_repeats=1",
        "gallery=2",
        f"runs={folder / 'runs'}",
    ]
    assert main(["run", *overrides]) == 0
    return folder / "runs" / "quickstart" / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(params=[1280, 390])
def page(request, browser, report):
    """The page at desktop and phone width; whatever it asks for and complains of is kept."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.asked, page.complaints = [], []
    page.on("request", lambda asked: page.asked.append(asked.url.partition(":")[0]))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(report.as_uri())
    yield page
    page.close()


def column(page, heading):
    return page.locator("table").first.evaluate(
        """(table, heading) => {
            const names = [...table.tHead.rows[0].cells].map((c) => c.textContent.trim());
            const at = names.indexOf(heading);
            return [...table.tBodies[0].rows].map((r) => r.cells[at].textContent.trim());
        }""",
        heading,
    )


def test_it_loads_whole_and_fits(page):
    assert page.asked.count("file") == 1 and set(page.asked) <= {"file", "data"}
    assert page.complaints == []
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    broken = page.evaluate("[...document.images].filter((i) => !i.naturalWidth).length")
    assert broken == 0
    assert page.locator("#gallery-1").count() == 1
    figures = page.locator(".figures img").count()
    assert figures > 5  # and of four prompts three pictures and a map, under one colour scale
    assert page.evaluate("document.images.length") == figures + 4 * (3 + 1) + 1


def test_a_click_sorts(page):
    button = page.locator("table").first.get_by_role("button", name="NFE")
    before = column(page, "NFE")
    button.click()
    falling = column(page, "NFE")
    assert falling == ["8", "4", "2", "1", "–"]  # the largest first, what is missing last
    button.click()
    assert column(page, "NFE") == ["1", "2", "4", "8", "–"]
    assert sorted(before) == sorted(falling)
    heading = page.locator("th", has_text="NFE").first
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.complaints == []
