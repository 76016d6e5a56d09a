"""Answers of hosts that are not trusted: few redirects, to public addresses alone.

What is fetched is said in ``fetch`` and ``pictures``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

CHUNK = 1 << 12  # bytes at a time; a connection that breaks loses less than that
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
REDIRECTS = 10
RETRIES = Retry(
    3,
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    respect_retry_after_header=False,  # a host may ask for hours
)


class RedirectError(requests.RequestException):  # type: ignore[misc]  # it has no types
    """A redirect that is not followed; says why."""


#: What a download may raise: urllib3 and the parsers of addresses have errors of their own.
FAILURES = (requests.RequestException, HTTPError, ValueError)
#: The first kind of error that fits, in few words.
REASONS = (
    (requests.Timeout, "the host did not answer in time"),
    (requests.exceptions.SSLError, "the host's certificate is not valid"),
    (requests.exceptions.ChunkedEncodingError, "the connection broke"),
    (requests.ConnectionError, "the host cannot be reached"),
    (requests.exceptions.RetryError, "the host answered again and again that it is busy"),
    (requests.TooManyRedirects, "the host redirects without end"),
    (ValueError, "no address of http or https"),  # what all invalid addresses are
    (Exception, "the connection broke"),
)


class Session(requests.Session):  # type: ignore[misc]  # it has no types
    """A session that follows no redirect by itself: it would read their bodies to the end."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None; :func:`opened` looks where a redirect leads."""


def session() -> Session:
    """A session that asks again where a host is busy; TLS is verified."""
    made = Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    return made


@contextmanager
def opened(session: Session, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    """The answer of the host to which an address leads; its content is still to be read.

    Raises:
        RedirectError: It leads to no address of http or https, or to one of this machine or its
            network.
        requests.RequestException: The host cannot be reached, or redirects without end.
    """
    for _ in range(REDIRECTS + 1):
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if not answer.is_redirect:
                yield answer
                return
            url = _next(answer)
    raise requests.TooManyRedirects


def _next(answer: requests.Response) -> str:
    """Where a redirect leads."""
    try:
        said = answer.headers["Location"].encode("latin-1").decode("utf-8")
        url = urljoin(answer.url, said)
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # also where it is no text
        raise RedirectError("the host redirects to no address of http or https") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RedirectError("the host redirects to no address of http or https")
    before = urlsplit(answer.url)
    if (before.hostname, before.port) != (host, port) and not _public(host):
        raise RedirectError(f"the host redirects to {host[:80]!r}, which is no public address")
    return url


def _public(host: str) -> bool:
    """Whether all addresses of a host are; one without an address cannot be reached anyway."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True
    return all(_is_global(address) for address in addresses)


def _is_global(address: str) -> bool:
    ip = ip_address(address.partition("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    return ip.is_global and not ip.is_multicast and (inner is None or inner.is_global)


def reason(error: Exception) -> str:
    """A network error in few words."""
    if isinstance(error, RedirectError):
        return str(error)
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the host answered {answer.status_code} {answer.reason}"
    return next(words for kind, words in REASONS if isinstance(error, kind))
