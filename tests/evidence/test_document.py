"""The page of a run or scan as a PDF."""

import builtins
import logging
import shutil

import pytest
from PIL import ImageFile

from anisomem.cli.main import main
from anisomem.errors import UserError
from anisomem.evidence import document


def test_the_page_is_found_by_the_run_or_its_experiment(experiment, run, scan, capsys):
    for given, page in (
        (experiment, experiment / "report.html"),
        (run, experiment / "report.html"),
        (scan, scan / "scan.html"),
        (scan.parent, scan / "scan.html"),
    ):
        capsys.readouterr()
        assert main(["report", str(given)]) == 0
        assert capsys.readouterr().out == f"Page: {page}\n"


def test_a_page_that_is_not_as_it_was_written_is_none(scan, tmp_path, capsys):
    def refused(folder):
        capsys.readouterr()
        assert main(["report", str(folder), "--pdf"]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1
        return shown.err

    assert "no run at" in refused(tmp_path / "nowhere")
    copy = tmp_path / "scans" / scan.name
    shutil.copytree(scan, copy)
    shutil.copytree(scan, tmp_path / "scans" / "again")
    assert "has several pages; give" in refused(tmp_path / "scans")
    (copy / "scan.html").write_text("<h1>All is well</h1>")
    assert "not as it was written; its command again writes it" in refused(copy)
    (copy / "scan.html").unlink()
    assert "has no page" in refused(copy)


def test_without_weasyprint_a_line_says_what_to_install(scan, monkeypatch, tmp_path, capsys):
    real = builtins.__import__

    def lacking(name, *arguments, **more):
        if name.startswith("weasyprint"):
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", lacking)
    out = tmp_path / "page.pdf"
    assert main(["report", "-q", str(scan), "--pdf", "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert "pip install 'anisomem[pdf]'" in shown.err and shown.err.count("\n") == 1
    assert not out.exists()


@pytest.fixture
def weasyprint():
    """The library, which needs Pango beside it."""
    try:
        return document.library()
    except UserError as error:
        pytest.skip(str(error))


def test_pictures_that_are_cut_off_stay_damaged(weasyprint):
    weasyprint.HTML(string="<p>text").write_pdf()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_pdf_is_written_once_and_quietly(scan, tmp_path, capsys, caplog, weasyprint):
    out = tmp_path / "page.pdf"
    with caplog.at_level(logging.WARNING):
        assert main(["report", "-q", str(scan), "--pdf", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"PDF: {out}\n" and shown.err == ""
    content = out.read_bytes()
    assert content.startswith(b"%PDF-") and len(content) > 9000
    assert main(["report", "-q", str(scan), "--pdf", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err and out.read_bytes() == content


@pytest.mark.parametrize("name", ["experiment", "scan"])
def test_no_column_or_text_of_the_document_is_cut(name, request, weasyprint):
    page = document.page_of(request.getfixturevalue(name))
    text = page.read_text()
    laid_out = weasyprint.HTML(string=text).render()
    shown = ""
    for one in laid_out.pages:
        for box in one._page_box.descendants():
            if isinstance(words := getattr(box, "text", None), str):
                assert box.position_x >= 0 and box.position_x + box.width <= one.width, words
                shown += words
    assert "click" not in shown and "1 / " in shown
    assert "noise_policy" in shown  # settings, which stand behind a click on the screen
    assert ("Pairs of" if name == "experiment" else "What the numbers mean") in shown


def test_what_a_page_refers_to_outside_is_not_read(tmp_path, monkeypatch, weasyprint):
    opened = []
    monkeypatch.setattr(
        "urllib.request.OpenerDirector.open",
        lambda self, request, *_, **__: opened.append(request),
    )
    (tmp_path / "secret.png").write_bytes(b"secret")
    page = tmp_path / "page.html"
    places = [(tmp_path / "secret.png").as_uri(), "http://127.0.0.1:9/x.png", "secret.png"]
    page.write_text("".join(f'<img src="{place}">' for place in places) + "<p>text")
    document.printed(page, tmp_path / "page.pdf")
    assert opened == [] and (tmp_path / "page.pdf").exists()
