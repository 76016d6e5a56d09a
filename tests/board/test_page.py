"""The board in a browser: sorted and filtered by clicks, on a desk and on a phone."""

import pytest

from anisomem.cli.main import main
from tests.board.conftest import content, put, row

DESK, PHONE = (1280, 800), (390, 844)
HOSTILE = "<script>document.title='taken'</script>"


def rows_of(shift):
    every = [
        row(f"detector_{i:02}", n, 0.5 + i / 70 + shift, float(n * (i + 1)))
        for i in range(25)
        for n in (1, 4)
    ]
    return [*every, row("text_only", 0, 0.51, None), row(HOSTILE, 0, 0.42, None)]


def said(value, inside):
    return {
        "statistic": "auc",
        "published": value,
        "spread": 0.001,
        "in_our_interval": inside,
        "source": "Somebody <b>bold</b>, 2024",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board of three cases, 156 cards."""
    folder = tmp_path_factory.mktemp("boards")
    published = {
        "detector_03, n=1": [said(0.9, False), said(0.55, True)],
        "detector_04, n=1": [said(0.7, None)],
    }
    put(folder / "results" / "a", content(rows_of(0.0), published))
    put(folder / "results" / "b", content(rows_of(0.1), model="large"))
    put(folder / "results" / "c", content(rows_of(0.05), prompts="other captions"))
    assert main(["board", str(folder / "results"), "--out", str(folder / "board")]) == 0
    return folder / "board"


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request, browser, made):
    """The page; what goes wrong while it is used fails the test."""
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
    opened.goto((made / "index.html").as_uri())
    yield opened
    opened.close()
    assert wrong == []


def column(page, place):
    """The shown cells of a column."""
    return page.evaluate(
        """(place) => [...document.querySelectorAll("#cards tbody tr")]
            .filter((row) => row.checkVisibility())
            .map((row) => row.cells[place].textContent.trim())""",
        place,
    )


def click(page, heading):
    page.locator("#cards").get_by_role("button", name=heading, exact=True).click()


def test_a_click_sorts(page):
    click(page, "AUC")
    areas = [float(cell.split()[0]) for cell in column(page, 2)]
    assert len(areas) == 156 and areas == sorted(areas, reverse=True)
    click(page, "AUC")
    assert [float(cell.split()[0]) for cell in column(page, 2)] == sorted(areas)
    click(page, "NFE")
    costs = column(page, 6)
    assert costs[0] == "100" and costs[-6:] == ["–"] * 6
    click(page, "detector")
    assert column(page, 0)[-1].startswith("text_only")


def test_cards_are_filtered_and_pictures_with_them(page):
    assert page.locator("#count").text_content() == "156 of 156 cards"
    page.get_by_label("Model").select_option("large")
    assert set(column(page, 8)) == {"large"}
    assert page.locator("#count").text_content() == "52 of 156 cards"
    assert page.locator(".figures figure:visible").count() == 1
    page.get_by_label("Prompt set").select_option("other captions")
    assert column(page, 0) == [] and page.get_by_text("No card has all of that.").is_visible()
    page.get_by_label("Model").select_option("")
    page.get_by_label("Search").fill("DETECTOR_03")
    assert column(page, 0) == ["detector_03"] * 2
    page.get_by_label("Prompt set").select_option("")
    page.get_by_label("Search").fill("")
    for name, detectors in (
        ("reproduced", ["detector_03"]),
        ("not reproduced", ["detector_03"]),
        ("not comparable", ["detector_04"]),
    ):
        page.get_by_label("Published").select_option(name)
        assert column(page, 0) == detectors
    page.get_by_label("Published").select_option("nothing published")
    assert len(column(page, 0)) == 154
    click(page, "AUC")  # what is filtered stays so while it is sorted
    assert len(column(page, 0)) == 154


def test_published_numbers_stand_beside_ours_with_their_verdict(page):
    page.get_by_label("Search").fill("detector_03 small results/a")
    cells = column(page, 3)
    assert cells[0].split() == [
        "0.900",
        "±",
        "0.001",
        "not",
        "reproduced",
        "0.550",
        "±",
        "0.001",
        "reproduced",
    ]
    assert cells[1] == "–"


def test_a_link_opens_where_a_card_comes_from(page):
    origin = page.locator("details").nth(1)
    assert origin.get_attribute("open") is None
    page.get_by_label("Model").select_option("large")
    page.locator("#cards tbody tr:visible a").first.click()
    page.wait_for_function("document.querySelectorAll('details')[1].open")
    assert "noise seeds" in origin.inner_text()


def test_the_page_is_no_wider_than_its_window_and_shows_the_numbers(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    first = page.locator("#cards tbody tr td:nth-child(3)").first.bounding_box()
    page.get_by_label("Search").fill("detector_03")
    assert first["x"] > 0 and first["x"] + first["width"] <= width
    frozen = page.evaluate(
        """[...document.querySelector("#cards tbody tr").cells]
            .filter((cell) => getComputedStyle(cell).position === "sticky").length"""
    )
    assert frozen == 1


def test_what_comes_from_elsewhere_is_text(page, made):
    assert page.title() == "Board of memorization detectors"
    assert HOSTILE in column(page, 0)
    assert page.locator("#cards b").count() == 0
    listed = (made / "board.md").read_text()
    assert "<script>" not in listed.replace("\\<", "")
    rows = [line for line in listed.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 156
