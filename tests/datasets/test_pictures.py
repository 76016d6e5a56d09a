"""Training pictures from a local server whose hosts are alive, dead and mistaken."""

import io
import json
import threading
from collections import Counter
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from urllib3.util import Retry

from anisomem.datasets import fetch, images, published, web
from anisomem.datasets.pictures import Album, fetch_pictures
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.measures import training_pictures as references


def encoded(seed, size=(40, 50), form="PNG"):
    colours = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return saved(Image.fromarray(colours), form)


def saved(image, form):
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


PNG = encoded(0)
CONTENT = {
    "good": PNG,
    "again": PNG,
    "jpeg": encoded(1, form="JPEG"),
    "wait": encoded(2),
    "black": saved(Image.new("RGB", (64, 64)), "PNG"),
    "grey": saved(Image.new("RGB", (64, 64), (200, 201, 199)), "JPEG"),
    "tiny": encoded(3, (31, 400)),
    "page": b"\n<!DOCTYPE html><title>Not found</title>",
    "text": b"gone",
    "cut": PNG[:-500],
    "wide": encoded(4, (100, 200)),
    "rare": encoded(5, form="PPM"),
    "large": b"\x89PNG" * 300_000,
}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path[1:]
        self.server.asked[name] += 1
        if name == "moved":
            self.send_response(302)
            self.send_header("Location", "/jpeg")
            self.end_headers()
        elif name == "busy" or (name == "wait" and self.server.asked[name] < 3):
            self.send_error(503)
        elif name in self.server.content:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.content[name])))
            self.end_headers()
            self.wfile.write(self.server.content[name])
        else:
            self.send_error(404)


@pytest.fixture
def server(monkeypatch):
    quick = Retry(3, status_forcelist=(503,), backoff_factor=0)
    monkeypatch.setattr(web, "RETRIES", quick)
    monkeypatch.setattr(images, "LIMIT", 1 << 20)
    monkeypatch.setattr(images, "PIXELS", 19_999)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.asked = dict(CONTENT), Counter()
        server.at = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


@pytest.fixture
def named(server, monkeypatch):
    """A set of one prompt for every list of names; the last prompt is ordinary."""

    def made(*lists):
        count = len(lists)
        urls = [[n if "://" in n or not n else server.at + n for n in names] for names in lists]
        prompts = PromptSet(
            "realvis_90",
            [f"p{i}" for i in range(count)],
            [f"text {i}" for i in range(count)],
            np.array([1] * (count - 1) + [0], np.int8),
            np.arange(count),
            ["x"] * count,
            ["x"] * count,
            urls=urls,
        )
        monkeypatch.setattr(published, "load", lambda name, data: prompts)
        return prompts

    return made


def fetched(folder):
    return list(fetch_pictures("realvis_90", str(folder)))


def test_every_address_is_fetched_once_and_looked_up(server, named, tmp_path):
    prompts = named(["good", "again", "jpeg"], ["jpeg", "gone"], ["gone"], ["moved"], [], [""])
    said = fetched(tmp_path)
    folder = tmp_path / "pictures"
    assert said == [
        "realvis_90: pictures of 4 of 5 addresses, so of 3 of 4 prompts that name one, in "
        f"{folder}",
        f"dead: {server.at}gone: the host answered 404 Not Found",
        f"the same bytes, one picture or a host's placeholder: {server.at}again, {server.at}good",
        f"the same bytes, one picture or a host's placeholder: {server.at}jpeg, {server.at}moved",
    ]
    jpeg = CONTENT["jpeg"]
    digests = {sha256(content).hexdigest(): content for content in (PNG, jpeg)}
    assert {file.name for file in folder.iterdir()} == {"manifest.json", *digests}
    assert all((folder / name).read_bytes() == content for name, content in digests.items())

    found = references.find_training_pictures(prompts, str(tmp_path))
    assert list(found.pictures) == ["p0", "p1", "p3"] and "p2" not in found.pictures
    assert [len(found.pictures[key]) for key in found.pictures] == [2, 1, 1]  # distinct ones
    expected = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert (found.pictures["p0"][0] == expected).all()
    assert found.lacking == {"p2": f"{server.at}gone: the host answered 404 Not Found"}


def test_the_same_command_tries_only_the_dead_again(server, named, tmp_path):
    named(["good"], ["later"], ["good"])
    fetched(tmp_path)
    server.content["later"] = encoded(7)
    server.asked.clear()
    (line,) = fetched(tmp_path)
    assert "pictures of 2 of 2 addresses, so of 3 of 3" in line
    assert server.asked == {"later": 1}
    assert json.loads((tmp_path / "pictures" / "manifest.json").read_text())["dead"] == {}

    # A file that went astray is fetched again; one that is damaged is not passed on.
    album = Album(tmp_path)
    kept = album.folder / album.pictures[server.at + "good"]
    kept.unlink()
    fetched(tmp_path)
    assert kept.read_bytes() == PNG and server.asked == {"later": 1, "good": 1}
    kept.write_bytes(b"damaged")
    found = references.find_training_pictures(named(["good"], []), str(tmp_path))
    with pytest.raises(UserError, match="is damaged; remove it and run anisomem fetch NAME"):
        found.pictures["p0"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("black", "a picture of one colour"),
        ("grey", "a picture of one colour"),
        ("tiny", "400×31 pixels, expected 32 a side at least"),
        ("page", "an HTML page came in place of a picture"),
        ("text", "4 bytes that Pillow cannot read as PNG, JPEG, WebP or GIF"),
        ("cut", f"{len(PNG) - 500} bytes that Pillow cannot read as PNG, JPEG, WebP or GIF"),
        ("rare", "6013 bytes that Pillow cannot read as PNG, JPEG, WebP or GIF"),
        ("large", "larger than 1 MiB"),
        ("wide", "200×100 pixels, more than 19,999"),
        ("busy", "the host answered again and again that it is busy"),
        ("http://127.0.0.1:9/x", "the host cannot be reached"),
        ("ftp://host/x", "no address of http or https"),
        ("https://", "no address of http or https"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(server, named, tmp_path, name, reason):
    prompts = named([name], [])
    (first, dead) = fetched(tmp_path)
    assert "pictures of 0 of 1 addresses, so of 0 of 1 prompts" in first
    assert dead == f"dead: {prompts.urls[0][0]}: {reason}"
    assert references.find_training_pictures(prompts, str(tmp_path)).lacking["p0"].endswith(reason)
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["manifest.json"]


def test_a_host_that_is_busy_is_asked_again(server, named, tmp_path):
    named(["wait"], [])
    (line,) = fetched(tmp_path)
    assert "pictures of 1 of 1" in line and server.asked == {"wait": 3}


def test_before_anything_is_fetched(named, tmp_path):
    found = references.find_training_pictures(named(["good", "jpeg"], []), str(tmp_path))
    assert len(found.pictures) == 0
    assert found.lacking["p0"].endswith(
        "never fetched, run anisomem fetch NAME --pictures (and 1 more)"
    )
    assert not list(tmp_path.iterdir())


def test_pictures_that_a_set_carries_need_no_folder(make_prompts):
    from dataclasses import replace

    prompts = replace(make_prompts(["a", "b"], [1, 0]), pictures=[PNG, None])
    found = references.find_training_pictures(prompts, "/nowhere")
    assert list(found.pictures) == ["p0"] and found.lacking == {}
    assert found.pictures["p0"][0].shape == (40, 50, 3)
    assert (
        len(references.find_training_pictures(make_prompts(["a", "b"], [1, 0]), None).pictures)
        == 0
    )


def test_command(server, named, tmp_path, capsys, monkeypatch):
    from anisomem.cli.main import main

    named(["good"], ["gone"], [])
    monkeypatch.setattr(fetch, "fetch", lambda name, data: iter(["files"]))
    assert main(["fetch", "realvis_90", "--pictures", f"paths.data={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "files",
        "realvis_90: pictures of 1 of 2 addresses, so of 1 of 2 prompts that name one, in "
        f"{tmp_path / 'pictures'}",
    ]
    (tmp_path / "pictures" / "manifest.json").write_text("{")
    assert main(["fetch", "realvis_90", "--pictures", f"paths.data={tmp_path}"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("what is recorded stays")
