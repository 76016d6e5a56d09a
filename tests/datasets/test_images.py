"""Pictures that nobody vouches for."""

import io

import numpy as np
import pytest
from PIL import Image

from anisomem.datasets import images
from anisomem.errors import UserError


def saved(form, size=(6, 4), mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size, 200).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize("form", images.FORMATS)
def test_four_formats_are_opened(form):
    assert np.asarray(images.decoded(saved(form), "x")).shape == (4, 6, 3)
    images.require_picture(saved(form), "x")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    "content",
    [
        EPS,
        saved("BMP"),
        saved("TIFF"),
        saved("PPM"),
        saved("ICO"),
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"x",
    ],
    ids=str,
)
def test_all_else_is_refused_in_one_line(content, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)  # no program is started
    for opened in (images.decoded, images.require_picture):
        with pytest.raises(UserError) as caught:
            opened(content, "mine.parquet, picture 3")
        assert str(caught.value).startswith("mine.parquet, picture 3: ")
        assert "\n" not in str(caught.value)


def test_bounds(monkeypatch):
    monkeypatch.setattr(images, "PIXELS", 23)
    with pytest.raises(UserError, match="x: 6×4 pixels, more than 23"):
        images.decoded(saved("PNG"), "x")
    monkeypatch.setattr(images, "LIMIT", 10)
    with pytest.raises(UserError, match="x: larger than 0 MiB"):
        images.decoded(saved("PNG"), "x")


def test_a_truncated_picture_is_found_when_it_is_decoded():
    content = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(content).save(stream, "PNG")
    images.require_picture(stream.getvalue()[:-500], "x")
    with pytest.raises(UserError, match="cannot read as PNG, JPEG, WebP or GIF"):
        images.decoded(stream.getvalue()[:-500], "x")
