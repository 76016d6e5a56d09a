"""Where redirects may lead, and what of an answer is read."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anisomem.datasets import pictures, web
from anisomem.datasets.pictures import NoPictureError


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response_only(302)
        self.wfile.write(b"".join(self._headers_buffer))
        self._headers_buffer = []
        self.wfile.write(b"Location: " + self.server.location + b"\r\n\r\n")
        for _ in range(self.server.body):  # of a redirect, which nobody reads
            self.wfile.write(b"x" * 4096)


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.body = [], 0
        server.at = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (b"http://127.0.0.1:1/x", "'127.0.0.1', which is no public address"),
        (b"http://localhost/x", "'localhost', which is no public address"),
        (b"http://[::1]/x", "'::1', which is no public address"),
        (b"http://[::ffff:10.0.0.1]/", "'::ffff:10.0.0.1', which is no public address"),
        (b"http://10.1.2.3/", "'10.1.2.3', which is no public address"),
        (b"http://169.254.169.254/latest/", "'169.254.169.254', which is no public address"),
        (b"//192.168.0.1/", "'192.168.0.1', which is no public address"),
        (b"http://0/", "'0', which is no public address"),
        (b"http://2130706433/", "'2130706433', which is no public address"),
        (b"http://[::1", "no address of http or https"),
        (b"https://", "no address of http or https"),
        (b"http://host:port/", "no address of http or https"),
        (b"\xff\xfe://", "no address of http or https"),
        (b"file:///etc/passwd", "no address of http or https"),
        (b"ftp://host/x", "no address of http or https"),
        (b"/again", "the host redirects without end"),
    ],
)
def test_a_redirect_that_is_not_followed_is_one_line(server, location, reason):
    server.location = location
    with pytest.raises(NoPictureError) as caught:
        pictures.download(server.at)
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.asked) == (web.REDIRECTS + 1 if location == b"/again" else 1)


def test_the_body_of_a_redirect_is_not_read(server):
    server.location, server.body = b"http://10.1.2.3/", 1 << 20  # 4 GiB
    with pytest.raises(NoPictureError, match="no public address"):
        pictures.download(server.at)


def test_public_addresses():
    for address in ("93.184.216.34", "2606:4700:4700::1111"):
        assert web._is_global(address)
    for address in ("127.0.0.1", "fe80::1%eth0", "fd00::1", "224.0.0.1", "100.64.0.1", "::"):
        assert not web._is_global(address)
