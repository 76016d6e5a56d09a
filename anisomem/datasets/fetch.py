"""Downloads the files of published prompt sets; each gets its name once it is verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter
from tqdm.auto import tqdm
from urllib3.util import Retry

from anisomem.datasets import cards, files
from anisomem.datasets.cards import Source
from anisomem.errors import UserError, one_of
from anisomem.storage import atomic

CHUNK = 1 << 12  # bytes at a time; a connection that breaks loses less than that
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
RETRIES = Retry(
    3,
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    respect_retry_after_header=False,  # a host may ask for hours
)
#: The first kind of error that fits, in few words.
REASONS = (
    (requests.Timeout, "the host did not answer in time"),
    (requests.exceptions.SSLError, "the host's certificate is not valid"),
    (requests.exceptions.ChunkedEncodingError, "the connection broke"),
    (requests.ConnectionError, "the host cannot be reached"),
    (requests.exceptions.RetryError, "the host answered again and again that it is busy"),
    (requests.TooManyRedirects, "the host redirects without end"),
    (ValueError, "no address of http or https"),  # what all invalid addresses are
    (requests.RequestException, "the connection broke"),
)
HTML = (b"<!doctype html", b"<html")
Content = bytes  # a pinned file has a property of that name


class Pinned(Protocol):
    """A file whose content is known before it is here."""

    @property
    def url(self) -> str:
        """Where it can be downloaded."""

    @property
    def sha256(self) -> str:
        """Of its content."""

    @property
    def bytes(self) -> int | None:
        """Its size, where that is known."""

    def has(self, content: Content) -> bool:
        """Whether this is its content."""


def session() -> requests.Session:
    """A session that asks again where a host is busy; TLS is verified."""
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    return made


def fetch(name: str, data: str | None = None) -> Iterator[str]:
    """Downloads what is missing of a set, or of ``all``; yields a line on each file's licence.

    Arguments:
        name: Of a set's card, or ``all``.
        data: Folder to look in and to download to; null: the user's cache.

    Raises:
        UserError: An unknown name, a host that does not answer, another content than the card's,
            or no room; a file that is there already is untouched then.
    """
    one_of("published prompt set", name, [*cards.names(), "all"])
    chosen = [cards.read(each) for each in (cards.names() if name == "all" else [name])]
    folder = cards.folder(data)
    sources = {(s.repository, s.path): s for card in chosen for s in card.sources}
    with session() as connections:
        for source in sources.values():
            state = "at hand"
            if not _at_hand(source, folder):
                download(source, source.place(folder), connections)
                state = f"fetched to {source.place(folder)}"
            yield f"{source.repository}/{source.path}: {state}; licence: {source.licence}"
    for hub in (card.hub for card in chosen if card.hub):
        rows = list(files.hub(hub.repository, hub.split, hub.revision))  # fills the hub's cache
        yield f"{hub.repository}: {len(rows)} prompts at hand; licence: {hub.licence}"


def _at_hand(source: Source, folder: Path) -> bool:
    try:
        return source.find(folder) is not None
    except UserError:  # another file of its name, which a download may replace
        return False


def download(source: Pinned, place: Path, session: requests.Session) -> None:
    """Downloads a file to ``place``, continuing what an earlier attempt left beside it.

    Raises:
        UserError: As :func:`fetch`; what came is kept where the same command can continue.
    """
    partial = place.with_name(place.name + ".partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _receive(source, partial, session)
        content = partial.read_bytes()
        if not source.has(content):
            partial.unlink()
            raise UserError(f"{source.url}: {difference(source, content)}; nothing was replaced")
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, place)
        atomic.sync(place.parent)
    except requests.RequestException as error:
        had = partial.stat().st_size if partial.exists() else 0
        size = "" if source.bytes is None else f" of {source.bytes}"
        raise UserError(
            f"{source.url}: {reason(error)} after {had}{size} bytes; the same command again "
            "continues"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror}; nothing was replaced, make room or name "
            "another folder with paths.data=FOLDER (XDG_CACHE_HOME for the user's cache)"
        ) from None


def _receive(source: Pinned, partial: Path, session: requests.Session) -> None:
    """Appends to ``partial`` what it lacks, or writes all where the host sends all."""
    had = partial.stat().st_size if partial.exists() else 0
    if source.bytes is not None and had >= source.bytes:
        return
    # A compressed answer's ranges would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with session.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if had and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it came before, and what it is will be checked
        answer.raise_for_status()
        continues = answer.headers.get("Content-Range", "").startswith(f"bytes {had}-")
        append = answer.status_code == requests.codes.partial and continues
        bar = tqdm(
            desc=partial.stem,
            initial=had if append else 0,
            total=source.bytes,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with bar, partial.open("ab" if append else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def difference(source: Pinned, content: Content) -> str:
    """What came in place of the file."""
    if is_html(content):
        return "an HTML page came in place of the file"
    if source.bytes not in (None, len(content)):
        return f"{len(content)} bytes came, its card says {source.bytes}"
    return f"its content has sha256 {sha256(content).hexdigest()}, expected {source.sha256}"


def is_html(content: Content) -> bool:
    """Whether a page came, such as a login or an apology."""
    return content[:512].lstrip().lower().startswith(HTML)


def reason(error: requests.RequestException) -> str:
    """A network error in few words."""
    if error.response is not None:
        return f"the host answered {error.response.status_code} {error.response.reason}"
    return next(words for kind, words in REASONS if isinstance(error, kind))
