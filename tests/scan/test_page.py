"""scan.html as a reader meets it: offline, at a desk and on a phone."""

import pytest


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def show(request, browser):
    """Opens the page of a run; what goes wrong while it is used fails the test."""
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    wrong = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))

    def shown(run):
        opened.goto((run / "scan.html").as_uri())
        return opened

    yield shown
    opened.close()
    assert wrong == []


@pytest.fixture
def page(show, run_of):
    """The page of a finished scan."""
    return show(run_of)


def test_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_search_leaves_the_prompts_and_ids_that_have_it(page):
    shown = "[...document.querySelectorAll('#lines tbody tr')].filter(r => !r.hidden).length"
    assert page.evaluate(shown) == 4
    page.fill("#search", "RED")
    assert page.evaluate(shown) == 2 and page.inner_text("#found") == "2 of 4"
    page.fill("#search", "mine-5")
    assert page.evaluate(shown) == 1
    page.fill("#search", "")
    assert page.evaluate(shown) == 4 and page.inner_text("#found") == ""


def test_a_click_on_a_heading_sorts(page):
    column = """name => {
        const head = [...document.querySelectorAll('#lines th')].find(h => h.innerText === name);
        return [...document.querySelectorAll('#lines tbody tr')].map(
            r => Number(r.cells[head.cellIndex].textContent));
    }"""
    assert page.evaluate(column, "rank") == [1, 2, 3, 4]
    page.click("#lines th button:text-is('p')")
    falling = page.evaluate(column, "p")
    assert falling == sorted(falling, reverse=True)


def test_training_pictures_are_shown_and_sorted(show, leaked):
    page = show(leaked[0])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    pictures = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
    assert page.evaluate(pictures)
    assert page.evaluate("document.querySelectorAll('.trained img').length") == 2
    names = "[...document.querySelectorAll('#leaks td.name')].map(one => one.textContent)"
    assert page.evaluate(names)[0] == "copy.png"
    page.click("#leaks th button:text-is('name')")
    found = page.evaluate(names)
    assert found == sorted(found) and len(found) == 6
