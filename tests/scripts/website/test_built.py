"""The site builds without a warning, is whole without a network, and is searched in a browser."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs")

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


class Asked(HTMLParser):
    """What a page asks for while it is shown."""

    def __init__(self):
        super().__init__()
        self.places = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.places.append(given.get("src") or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.places.append(given.get("href") or "")


@pytest.mark.slow
def test_nothing_is_asked_of_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        asked = Asked()
        asked.feed(page.read_text(encoding="utf-8"))
        foreign = [place for place in asked.places if re.match(r"(https?:)?//", place)]
        assert foreign == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_search_finds_a_word_without_a_server(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 844})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if width < 1000:
        page.locator("label[for=__search]").first.click()
    page.locator("input.md-search__input").press_sequentially("guidance vector")
    found = page.locator(".md-search-result__article", has_text="guidance vector")
    found.first.wait_for(timeout=20_000)
    assert any("Glossary" in one for one in found.all_inner_texts())
    assert errors == [] and not [url for url in asked if url.startswith("http")]
    page.close()
