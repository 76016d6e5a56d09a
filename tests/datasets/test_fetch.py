"""Downloads from a local server that behaves well and badly."""

import errno
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from urllib3.util import Retry

from anisomem.datasets import cards, published, tables, web
from anisomem.datasets.fetch import fetch
from anisomem.errors import UserError

NAME = "realvis_90"


class Server(ThreadingHTTPServer):
    """Serves the pinned files; what goes wrong is set by a test."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.asked = []  # path and range of every request
        self.ranges = True
        self.replaced = {}  # file to what comes in its place
        self.broken = {}  # file to the number of bytes after which the connection ends
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, name = self.server, Path(self.path).name
        asked = self.headers.get("Range")
        server.asked.append((self.path, asked))
        body = server.replaced.get(name, server.content[name])
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        self.send_response(206 if start else server.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : server.broken.get(name)])


@pytest.fixture
def server(pinned, monkeypatch):
    with Server(pinned) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(cards, "HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(web, "RETRIES", Retry(0))
        yield server
        server.shutdown()
        thread.join()


def refused(folder, name=NAME):
    """The one line of a failed download."""
    with pytest.raises(UserError) as caught:
        list(fetch(name, str(folder)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_fetched_files_lie_as_in_their_repositories_and_load(server, tmp_path):
    said = list(fetch(NAME, str(tmp_path)))
    card = cards.read(NAME)
    expected = {
        f"{s.repository}/{s.path}": server.content[Path(s.path).name] for s in card.sources
    }
    assert files(tmp_path) == expected
    assert server.asked == [(f"/{s.repository}/{s.commit}/{s.path}", None) for s in card.sources]
    assert all("fetched to" in line and "licence: MIT" in line for line in said)
    assert len(published.load(NAME, str(tmp_path))) == 180

    said = list(fetch(NAME, str(tmp_path)))
    assert len(server.asked) == len(card.sources)  # nothing is downloaded twice
    assert all("at hand" in line for line in said)
    assert "licence: none stated" in "".join(fetch("sd20_webster219", str(tmp_path)))


BROKEN = "SD1_final.csv"


def test_a_broken_connection_is_continued(server, tmp_path):
    server.broken[BROKEN] = 100_000
    message = refused(tmp_path, "membench_sd14")
    ((name, kept),) = files(tmp_path).items()
    assert Path(name).name == f"{BROKEN}.partial"
    assert 90_000 < len(kept) <= 100_000 and server.content[BROKEN].startswith(kept)
    total = len(server.content[BROKEN])
    assert f"the connection broke after {len(kept)} of {total} bytes; the same com" in message

    server.broken.clear()
    list(fetch("membench_sd14", str(tmp_path)))
    assert [asked for _, asked in server.asked[:3]] == [None, f"bytes={len(kept)}-", None]
    (file,) = tmp_path.rglob(BROKEN)
    assert file.read_bytes() == server.content[BROKEN]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_host_without_ranges_starts_again(server, tmp_path):
    server.broken[BROKEN] = 100_000
    refused(tmp_path, "membench_sd14")
    server.broken.clear()
    server.ranges = False
    list(fetch("membench_sd14", str(tmp_path)))
    (file,) = tmp_path.rglob(BROKEN)
    assert file.read_bytes() == server.content[BROKEN]


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (lambda right: right[:-1] + b"#", "its content has sha256 "),
        (lambda right: right[:-9], "bytes came, its card says"),
        (lambda right: right + b"\n", "more than its 1810 bytes came"),
        (lambda _: b"\n<!DOCTYPE html><title>Log in</title>", "an HTML page came in place"),
        (lambda right: b"<html>".ljust(len(right)), "an HTML page came in place of the file"),
    ],
)
def test_another_content_never_gets_the_name(server, tmp_path, instead, message):
    place = cards.read(NAME).sources[0].place(tmp_path)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"old")
    server.replaced["RV_mem.txt"] = instead(server.content["RV_mem.txt"])
    assert message in refused(tmp_path)
    assert files(tmp_path) == {str(place.relative_to(tmp_path)): b"old"}  # and nothing else

    server.replaced.clear()
    list(fetch(NAME, str(tmp_path)))
    assert place.read_bytes() == server.content["RV_mem.txt"]


def test_a_full_disk(server, tmp_path):
    place = cards.read(NAME).sources[0].place(tmp_path)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"old")
    place.with_name("RV_mem.txt.partial").symlink_to("/dev/full")  # every write: ENOSPC
    message = refused(tmp_path)
    assert f"cannot write {place}: No space left on device; nothing was replaced" in message
    assert place.read_bytes() == b"old"
    assert errno.ENOSPC == 28


def test_hosts_that_do_not_serve(server, tmp_path, monkeypatch):
    server.status = 404
    assert "the host answered 404 Not Found" in refused(tmp_path)
    monkeypatch.setattr(cards, "HOST", "http://127.0.0.1:9")
    assert "the host cannot be reached" in refused(tmp_path)
    assert files(tmp_path) == {}
    assert "did you mean 'realvis_90'?" in refused(tmp_path, "realvis")
    (tmp_path / "file").touch()
    assert "paths.data must be a folder" in refused(tmp_path / "file")


def test_command(server, tmp_path, capsys):
    from anisomem.cli.main import main

    assert main(["fetch", NAME, f"paths.data={tmp_path}"]) == 0
    assert capsys.readouterr().out.count("licence: MIT\n") == 4
    server.status = 500
    assert main(["fetch", "memattn_sd14", f"paths.data={tmp_path}"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("anisomem: http://127") and printed.err.count("\n") == 1


def test_all_fetches_every_file_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "hub", lambda *_: tables.RawTable([("", {})] * 500))
    said = list(fetch("all", str(tmp_path)))
    assert len(server.asked) == len(set(server.asked)) == len(files(tmp_path)) == 15
    assert said[-1].startswith("Gustavosta/Stable-Diffusion-Prompts: 500 prompts at hand")
    for name in set(cards.names()) - {"gustavosta"}:
        published.load(name, str(tmp_path))
