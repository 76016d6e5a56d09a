"""The page in a browser: an example is clicked, and what is asked for appears."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from anisomem.demo import interface, shown
from anisomem.demo.answer import Word
from anisomem.errors import UserError

gradio = pytest.importorskip("gradio")

ROOT = Path(__file__).parents[2]
WAIT = 60_000  # milliseconds, on a machine with other work
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def address(bundled):
    blocks = interface.page(bundled)
    yield interface.start(blocks, "127.0.0.1", None)
    blocks.close(verbose=False)


@pytest.fixture
def tab(address, browser, request):
    """A page of the demo; what its console and its requests were is looked at in the end."""
    width, height = SIZES[getattr(request, "param", "desktop")]
    page = browser.new_page(viewport={"width": width, "height": height})
    said, asked = [], []
    page.on("console", lambda one: said.append(one) if one.type == "error" else None)
    page.on("pageerror", lambda error: said.append(error))
    page.on("dialog", lambda one: (said.append(one), one.dismiss()))
    page.on("request", lambda one: asked.append(one.url))
    page.goto(address)
    page.wait_for_selector("#ask")
    yield page
    page.close()
    assert [str(one) for one in said] == []
    elsewhere = [u for u in asked if not u.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


def answered(tab):
    """Waits until pictures are there."""
    tab.wait_for_selector("#pictures .tiles img", timeout=WAIT)
    tab.wait_for_selector("#which", timeout=WAIT)


def loaded(tab):
    """Whether every picture is one."""
    return tab.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")


@pytest.mark.slow
@pytest.mark.parametrize("tab", SIZES, indirect=True)
def test_an_example_is_answered(tab, bundled):
    example = bundled.examples[0]
    tab.get_by_text(f"{example.kind}: {example.prompt}").first.click()
    answered(tab)
    assert tab.input_value("#prompt textarea") == example.prompt
    text = tab.inner_text("#verdict")
    scored = bundled.score(example.prompt)
    for one in bundled.verdicts(scored, bundled.rates[0]):
        cells = [one.detector, f"{one.score:.3g}", f"{one.threshold.value:.3g}", f"{one.p:.2g}"]
        if tab.viewport_size["width"] < 480:
            del cells[2]  # a phone shows it in the figure alone
        assert "\t".join(cells) in text
    first = bundled.verdict(scored, bundled.scorer.keys[0], bundled.rates[0])
    assert ("Stands out" in text) == first.flagged
    assert "In the model's own prompt set it is labelled memorized" in text
    assert tab.locator("#pictures .tiles").first.locator("img").count() == 8
    captions = tab.locator("#pictures .tiles").first.locator("figcaption").all_inner_texts()
    near = bundled.generate(example.prompt).nearest
    assert captions[1::2] == [f"{one.distance:.3f}" for one in near]

    tab.click("#which")
    tab.wait_for_selector("#words .word", timeout=WAIT)
    words = [one.split("\n")[0] for one in tab.locator("#words .word").all_inner_texts()]
    assert words == example.prompt.split()
    tab.click("#mitigate")
    tab.wait_for_selector("#after table", timeout=WAIT)
    assert tab.locator("#after img").count() == 8
    assert re.search(r"NFE, without sampling\t0\t[1-9]\d*", tab.inner_text("#after"))
    assert loaded(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]


@pytest.mark.slow
def test_another_rate_and_detector_make_another_verdict(tab, bundled):
    tab.fill("#prompt textarea", "premium fox decal")
    tab.click("#ask")
    answered(tab)
    scored = bundled.score("premium fox decal")
    for rate, key in ((bundled.rates[-1], bundled.scorer.keys[0]), (bundled.rates[-1], "wen")):
        if key != "wen":
            tab.locator("#rate label").filter(has_text=f"{rate:.0%}").last.click()
        else:
            key = bundled.scorer.keys[1]
            tab.locator("#detector label").filter(has_text=key).last.click()
        expected = bundled.verdict(scored, key, rate)
        said = f"By {key}, at a false-positive rate of {rate:.0%}: {expected.above} of"
        tab.wait_for_function(
            "said => document.querySelector('#verdict').innerText.includes(said)",
            arg=said,
            timeout=WAIT,
        )


@pytest.mark.slow
def test_a_prompt_is_text_and_nothing_else(tab):
    text = "<img src=x onerror=alert(1)> ${alert(2)} {{alert}} fox"
    tab.fill("#prompt textarea", text)
    tab.click("#ask")
    answered(tab)
    tab.click("#which")
    tab.wait_for_selector("#words .word", timeout=WAIT)
    words = [one.split("\n")[0] for one in tab.locator("#words .word").all_inner_texts()]
    assert words == text.split()
    tab.fill("#prompt textarea", "x" * 600)
    assert len(tab.input_value("#prompt textarea")) == 500


@pytest.mark.slow
def test_an_empty_prompt_is_told(tab):
    tab.click("#ask")
    tab.wait_for_selector("text=the prompt is empty", timeout=WAIT)


def test_words_are_made_safe():
    page = shown.words([Word("<b>", 0.5, 0.25), Word("a", float("nan"), float("nan"))], "<i>")
    assert "<b>" not in page and "&lt;b&gt;" in page and "&lt;i&gt;" in page
    assert "+0.25" in page and "–" in page


def test_mistakes_are_one_line_on_the_page(tiny):
    handlers = interface._Handlers(gradio, tiny)
    with pytest.raises(gradio.Error) as told:
        next(handlers.ask("x" * 501, "wen, n=1", 0.1))
    assert "501 characters; the demo takes 500 at most" in told.value.message
    with pytest.raises(gradio.Error) as told:
        next(handlers.ask("fox", "<b>", 0.1))
    assert "&lt;b&gt;" in told.value.message
    assert handlers.words(None, "wen, n=1") == handlers.judge(None, "wen, n=1", 0.1) == ""


def test_nothing_can_be_had_but_the_page(address):
    """No interface for programs, no uploads, no monitoring, no telemetry."""
    with urlopen(f"{address}config") as answer:
        config = json.load(answer)
    assert all(one["api_visibility"] == "private" for one in config["dependencies"])
    assert config["analytics_enabled"] is False and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    body += b"a" * 5_000 + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(Exception, match=r"413|Payload|Entity"):
        urlopen(Request(f"{address}gradio_api/upload", body, headers))


def test_a_port_that_is_taken_is_told(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1, port {port}: it is tak"):
            interface.start(interface.page(tiny), "127.0.0.1", port)


@pytest.mark.slow
def test_the_space_serves_what_its_variable_says_until_it_is_ended(tiny_words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*tiny_words, "--port", str(port), "--host", "127.0.0.1"]
    environment = {**os.environ, "ANISOMEM_DEMO": " ".join(f"'{word}'" for word in words)}
    started = subprocess.Popen(
        [sys.executable, ROOT / "demo" / "app.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = started.stdout.readline()
        assert line == f"http://127.0.0.1:{port}/ (Ctrl-C ends it)\n", started.stderr.read()
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"anisomem: " in answer.read()
        started.send_signal(signal.SIGINT)
        out, _ = started.communicate(timeout=60)
        assert (out, started.returncode) == ("", 0)
    finally:
        started.kill()
        started.wait()


def test_the_space_has_a_version_that_the_demo_allows():
    card, project = ((ROOT / name).read_text() for name in ("demo/README.md", "pyproject.toml"))
    allowed = re.search(r'demo = \["gradio>=([\d.]+),<[\d.]+"\]', project)
    of_space = re.search(r"^sdk_version: ([\d.]+)$", card, re.MULTILINE)
    assert of_space[1].startswith(f"{allowed[1]}.") and "app_file: app.py\n" in card
    assert "anisomem[demo]" in (ROOT / "demo" / "requirements.txt").read_text().splitlines()
