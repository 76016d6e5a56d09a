"""The notebooks of the examples run, and show what they say."""

import re

import pytest

from scripts.notebooks import EXAMPLES, executed

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


NUMBER = re.compile(r"-?\d+\.\d+")


def same(after, before):
    """Whether texts are the same but for last digits, which are the processor's."""
    if NUMBER.sub("", after) != NUMBER.sub("", before):
        return False
    found, kept = ([float(x) for x in NUMBER.findall(text)] for text in (after, before))
    return found == pytest.approx(kept, rel=1e-4, abs=2e-6)


def shown(cell):
    """What a cell shows as text; pictures are another machine's."""
    texts = [one["data"]["text/plain"] for one in cell.get("outputs", ()) if "data" in one]
    return "\n".join(texts)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_what_it_has_kept(file, tmp_path):
    import nbformat

    kept, now = nbformat.read(file, as_version=4), executed(file, tmp_path)
    assert len(kept.cells) == len(now.cells) > 5
    for before, after in zip(kept.cells, now.cells, strict=True):
        assert same(shown(after), shown(before)), before.source
    assert not list(tmp_path.iterdir())


def test_there_are_notebooks_and_what_they_show_is_kept():
    import nbformat

    assert [file.stem for file in NOTEBOOKS] == ["own_model", "quickstart"]
    for file in NOTEBOOKS:
        cells = nbformat.read(file, as_version=4).cells
        assert any(shown(cell) for cell in cells)
        assert not any("/home/" in shown(cell) or "Traceback" in shown(cell) for cell in cells)
