"""Conventions derived by hand; a small TorchScript module in the place of the published one."""

import http.server
import threading
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image

from anisomem.errors import UserError
from anisomem.measures import nearest, weights
from anisomem.measures.base import TrainingPictures
from anisomem.measures.sscd import CONVENTIONS, Sscd

IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])


class Means(torch.nn.Module):
    """Mean of every channel, so that similarities follow from colours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=[2, 3])


class Maps(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def script(module, path):
    torch.jit.script(module).save(str(path))
    return {"weights": str(path), "sha256": sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def model(tmp_path):
    return script(Means(), tmp_path / "means.pt")


def colour(*values, size=(20, 30)):
    return np.broadcast_to(np.uint8(values), (*size, 3)).copy()


@pytest.mark.parametrize(("name", "side"), [("membench", 288), ("nemo", 320)])
def test_squashed_conventions(noise, name, side):
    picture = noise(40, 60)
    found = CONVENTIONS[name].prepared(picture)
    assert found.shape == (3, side, side) and found.dtype == np.float32
    # Pillow's bilinear filter: a corner of an enlarged picture is the corner itself.
    expected = (picture[0, 0] / 255 - IMAGENET[0]) / IMAGENET[1]
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5)
    half = np.zeros((4, 2 * side, 3), np.uint8)
    half[:, ::2] = 200  # shrinking averages: no stripe survives
    inside = CONVENTIONS[name].prepared(half)[0, :, 2:-2]
    np.testing.assert_allclose(inside, (100 / 255 - 0.485) / 0.229, atol=0.02)


def test_cropped_convention():
    # 512 by 768: the shorter side to 256, the longer to 384, then 224 from the middle.
    picture = np.zeros((512, 768, 3), np.uint8)
    picture[:, :384] = 255
    found = CONVENTIONS["jeon"].prepared(picture)
    assert found.shape == (3, 224, 224)
    np.testing.assert_allclose(found[:, :, :110], 1, atol=1e-6)
    np.testing.assert_allclose(found[:, :, 114:], -1, atol=1e-6)
    # 100 by 301 becomes 256 by 770.56, cut to 770; the middle begins at 273 and at 16.
    picture = np.arange(100 * 301 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 301, 3)
    image = Image.fromarray(picture).resize((770, 256), Image.Resampling.BILINEAR)
    middle = np.asarray(image, float)[16:240, 273:497].transpose(2, 0, 1)
    found = CONVENTIONS["jeon"].prepared(picture)
    np.testing.assert_allclose(found, middle / 127.5 - 1, atol=1e-6)


def test_models_of_the_conventions():
    assert {name: c.model for name, c in CONVENTIONS.items()} == {
        "membench": "sscd_disc_large",
        "jeon": "sscd_disc_large",
        "nemo": "sscd_disc_mixup",
    }


def test_similarity_is_the_largest_cosine_over_the_training_pictures(model, generated):
    measure = Sscd("sscd", convention="jeon", **model)
    references = TrainingPictures({"a": [colour(255, 0, 0), colour(255, 255, 0)], "b": []})
    measure.start(references, "cpu")
    pictures = [colour(255, 0, 0, size=(9, 9)) for _ in range(4)]
    pictures[1][:], pictures[2][:], pictures[3][:] = (0, 255, 255), (255, 255, 255), (0, 255, 0)
    found = measure(generated(pictures))["sscd"]
    # Normalised, red is (1, -1, -1) and yellow (1, 1, -1).
    np.testing.assert_allclose(found, [1, -1 / 3, 1 / 3, 1 / 3], atol=1e-6)
    reduced = [statistic.reduce(found[None])[0] for statistic in measure.statistics]
    np.testing.assert_allclose(reduced, [1, (1 + 2 / 3) / 3, 0.25, 1 / 3], atol=1e-6)
    assert [s.percent for s in measure.statistics] == [False, False, True, False]


def test_a_training_picture_of_many_prompts_is_described_once(model, generated, monkeypatch):
    measure = Sscd("sscd", **model)
    shared = colour(255, 0, 0)
    measure.start(TrainingPictures({"a": [shared], "b": [shared.copy(), colour(0, 9, 0)]}), "cpu")
    described, seen = measure._described, []
    monkeypatch.setattr(
        measure, "_described", lambda pictures: seen.append(len(pictures)) or described(pictures)
    )
    for key in ("a", "b", "b"):
        measure(replace(generated([shared] * 3), id=key))
    assert sorted(seen) == [1, 1, 3, 3, 3]


def test_more_pictures_than_a_batch(model, generated, noise, monkeypatch):
    measure = Sscd("sscd", **model)
    pictures = noise(5, 8, 8)
    measure.start(TrainingPictures({"a": [pictures[0]]}), "cpu")
    whole = measure(generated(pictures))["sscd"]
    monkeypatch.setattr("anisomem.measures.sscd.BATCH", 2)
    np.testing.assert_allclose(measure(generated(pictures))["sscd"], whole, atol=1e-6)


def test_nothing_else_than_the_named_content_is_loaded(model, tmp_path):
    other = sha256(b"other").hexdigest()
    with pytest.raises(UserError) as caught:
        Sscd("sscd", model["weights"], other).start(TrainingPictures({}), "cpu")
    assert str(caught.value) == (
        f"{model['weights']}: its content has sha256 {model['sha256']}, expected {other}"
    )
    with pytest.raises(UserError, match="must be 64 hexadecimal digits, got None"):
        Sscd("sscd", model["weights"], None)
    with pytest.raises(UserError, match="over https alone, got 'http://"):
        Sscd("sscd", "http://host/sscd.pt", other)
    with pytest.raises(UserError, match="did you mean 'membench'"):
        Sscd("sscd", **model, convention="memben")
    with pytest.raises(UserError, match=r"cannot read the weights gone\.pt: No such file"):
        Sscd("sscd", "gone.pt", other).start(TrainingPictures({}), "cpu")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    junk = {"weights": str(tmp_path / "junk.pt"), "sha256": sha256(b"junk").hexdigest()}
    with pytest.raises(UserError, match=r"junk\.pt is no TorchScript model: ") as caught:
        Sscd("sscd", **junk).start(TrainingPictures({}), "cpu")
    assert "\n" not in str(caught.value)


def test_a_model_of_something_else(tmp_path, generated):
    measure = Sscd("sscd", **script(Maps(), tmp_path / "maps.pt"))
    measure.start(TrainingPictures({"a": [colour(1, 2, 3)]}), "cpu")
    with pytest.raises(UserError, match=r"is no SSCD model: it makes \[1, 3, 288, 288\] of 1 pic"):
        measure(generated([colour(1, 2, 3)]))


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        body, asked = self.server.body, self.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.server.asked.append(start)
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : self.server.ends])


@pytest.fixture
def server(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "SCHEMES", ("http://127.0.0.1",))
    monkeypatch.setattr("anisomem.datasets.web.CHUNK", 500)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.asked, server.ends = (tmp_path / "means.pt").read_bytes(), [], None
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def test_weights_are_downloaded_once_and_verified(server, model, tmp_path, generated):
    url = f"http://127.0.0.1:{server.server_port}/sscd.pt"
    server.ends = 1000
    with pytest.raises(UserError, match="the connection broke after 1000 bytes; the same command"):
        Sscd("sscd", url, model["sha256"]).start(TrainingPictures({}), "cpu")
    server.ends = None
    for _ in range(2):
        measure = Sscd("sscd", url, model["sha256"])
        measure.start(TrainingPictures({"a": [colour(1, 2, 3)]}), "cpu")
    assert measure(generated([colour(1, 2, 3)]))["sscd"] == pytest.approx([1])
    assert server.asked == [0, 1000]  # continued, then at hand
    (file,) = (tmp_path / "cache").rglob("*sscd.pt")
    file.rename(file.with_name(file.name + ".partial"))  # ended before it got its name
    Sscd("sscd", url, model["sha256"]).start(TrainingPictures({}), "cpu")
    assert file.exists()

    other = sha256(b"other").hexdigest()
    with pytest.raises(
        UserError, match=f"has sha256 {model['sha256']}, expected {other}; nothing"
    ):
        Sscd("sscd", url, other).start(TrainingPictures({}), "cpu")
    assert list((tmp_path / "cache").rglob("*.p*")) == [file]


def test_the_nearest_of_many_are_said_as_the_cosine_of_descriptors(model, noise):
    measure = Sscd("sscd", **model)
    measure.load("cpu")
    many = [noise(30, 40), noise(20, 20), colour(200, 30, 30), colour(10, 10, 240)]
    groups = np.stack([many[2], many[3]])[:, None]
    found = nearest.nearest(groups, [many[:3], many[3:]], len(many), measure, k=1)
    cosines = (lambda d: d @ d.T)(measure.vectors(many))
    said = measure.said(found.closest)
    np.testing.assert_allclose(said, cosines[2:].max(axis=0), rtol=1e-4, atol=1e-5)
    assert measure.larger and found.places[:, 0].tolist() == [2, 3]
