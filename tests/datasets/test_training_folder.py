"""A user's own pictures: what is opened, how it is turned, what is refused and why."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from anisomem.datasets import images, training_folder
from anisomem.errors import UserError


def encoded(image, kind, **more):
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.fixture
def put(tmp_path):
    """Writes a file into the folder."""

    def made(name, content=b""):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        return name

    return made


@pytest.fixture
def picture(rng=None):
    values = np.zeros((20, 40, 3), np.uint8)
    values[:, :20] = (255, 0, 0)
    return Image.fromarray(values)


def test_pictures_are_found_whatever_they_are_called_and_the_rest_is_counted(
    put, picture, tmp_path
):
    put("b.png", encoded(picture, "PNG"))
    put("sub/a.JPG", encoded(picture, "JPEG"))
    put("no_suffix", encoded(picture, "WEBP"))
    for name in ("b.txt", "metadata.jsonl", "sub/cached.npz", ".b.png", ".git/x.png"):
        put(name)
    found = training_folder.found(str(tmp_path))
    assert found.names == ["b.png", "no_suffix", "sub/a.JPG"] and found.beside == 4
    assert all(found.read(name).shape == (20, 40, 3) for name in found.names)
    before = found.digest
    assert training_folder.found(str(tmp_path)).digest == before
    put("b.png", encoded(picture.rotate(180), "PNG"))
    os.utime(tmp_path / "b.png", (1, 1))
    assert training_folder.found(str(tmp_path)).digest != before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(put, picture, tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    put("x", encoded(picture, kind, exif=exif))
    shown = training_folder.found(str(tmp_path)).read("x").astype(int)
    assert shown.shape == (40, 20, 3)
    assert abs(shown[5, 10] - [255, 0, 0]).max() < 30  # what was left is above
    assert shown[35, 10].max() < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(put, tmp_path, mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128)) if mode != "P" else None
    put("x.png", encoded(image.convert(mode), "PNG"))
    shown = training_folder.found(str(tmp_path)).read("x.png")
    assert shown[0, 0].tolist() == [0, 0, 0] and shown[3, 3].tolist() == [255, 255, 255]
    if mode != "P":
        assert abs(int(shown[0, 1, 0]) - 127) <= 1


def test_other_colour_spaces_are_read(put, picture, tmp_path):
    put("cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG"))
    put("grey.png", encoded(picture.convert("L"), "PNG"))
    found = training_folder.found(str(tmp_path))
    assert abs(found.read("cmyk.jpg")[10, 5].astype(int) - [255, 0, 0]).max() < 30
    assert (np.ptp(found.read("grey.png"), axis=2) == 0).all()


def test_large_pictures_are_made_smaller_and_keep_their_shape(put, tmp_path):
    wide = Image.new("RGB", (5000, 2500), (10, 200, 30))
    put("x.jpg", encoded(wide, "JPEG"))
    assert training_folder.found(str(tmp_path)).read("x.jpg").shape == (512, 1024, 3)


def test_what_cannot_be_read_says_why_and_names_the_file(put, picture, tmp_path, monkeypatch):
    whole = encoded(picture, "PNG")
    put("cut.png", whole[: len(whole) // 2])
    put("empty.jpg")
    put("page.png", b"<html>")
    put("moving.gif", encoded(picture, "GIF"))
    put("eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    put("large.png", whole)
    os.truncate(tmp_path / "large.png", images.LIMIT + 1)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    found = training_folder.found(str(tmp_path))
    assert len(found.names) == 9
    for name in found.names:
        with pytest.raises(UserError) as caught:
            found.read(name)
        assert str(caught.value).startswith(f"{name}: ") and "\n" not in str(caught.value)
    monkeypatch.setattr(images, "PIXELS", 100)
    put("good.png", whole)
    with pytest.raises(UserError, match="40×20 pixels, more than 100"):
        training_folder.found(str(tmp_path)).read("good.png")


def test_captions_stand_beside_pictures_or_in_a_table(put, tmp_path):
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.png"):
        put(name)
    put("a.txt", b"a red\n cat \n")
    put("b.caption", b"\xff a dog")
    rows = [{"file_name": "c.png", "text": "a tree"}, {"file_name": 3}, ["no row"]]
    put("sub/metadata.jsonl", "\n".join([*map(json.dumps, rows), "{no json"]).encode())
    found = training_folder.found(str(tmp_path))
    assert found.captions(found.names) == {
        "a.png": "a red cat",
        "b.png": "\N{REPLACEMENT CHARACTER} a dog",
        "sub/c.png": "a tree",
    }


def test_names_are_said_in_one_line_whatever_they_are(tmp_path):
    for name in (b"\xff.png", b"a\nb.png", b"\x1b[31m.png"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"no picture")
    found = training_folder.found(str(tmp_path))
    assert [training_folder.shown(name) for name in found.names] == [
        "\\x1b[31m.png",
        "a\\nb.png",
        "\\xff.png",
    ]
    for name in found.names:
        with pytest.raises(UserError) as caught:
            found.read(name)
        assert str(caught.value).isprintable()


def test_folders_that_hold_no_pictures_are_one_line(put, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is not there; give a folder of PNG"):
        training_folder.found(str(tmp_path / "nowhere"))
    put("x.txt")
    with pytest.raises(UserError, match="is a file"):
        training_folder.found(str(tmp_path / "x.txt"))
    with pytest.raises(UserError, match="no file that may be a picture, only 1 others"):
        training_folder.found(str(tmp_path))
    put("1.png"), put("2.png")
    monkeypatch.setattr(training_folder, "MOST", 1)
    with pytest.raises(UserError, match="more than 1 files"):
        training_folder.found(str(tmp_path))
    monkeypatch.undo()
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    with pytest.raises(UserError, match="link to another folder"):
        training_folder.found(str(tmp_path))
