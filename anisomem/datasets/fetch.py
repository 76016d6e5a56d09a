"""Downloads the files of published prompt sets; each gets its name once it is verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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
RETRIES = Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))


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
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(max_retries=RETRIES))
        for source in sources.values():
            state = "at hand"
            if not _at_hand(source, folder):
                download(source, source.place(folder), session)
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


def download(source: Source, place: Path, session: requests.Session) -> None:
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
            raise UserError(f"{source.url}: {_difference(source, content)}; nothing was replaced")
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, place)
        atomic.sync(place.parent)
    except requests.RequestException as error:
        had = partial.stat().st_size if partial.exists() else 0
        raise UserError(
            f"{source.url}: {_reason(error)} after {had} of {source.bytes} bytes; the same "
            "command again continues"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror}; nothing was replaced, make room or name "
            "another folder with paths.data=FOLDER"
        ) from None


def _receive(source: Source, partial: Path, session: requests.Session) -> None:
    """Appends to ``partial`` what it lacks, or writes all where the host sends all."""
    had = partial.stat().st_size if partial.exists() else 0
    if had >= source.bytes:
        return
    # A compressed answer's ranges would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with session.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
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


def _difference(source: Source, content: bytes) -> str:
    """What came in place of the file."""
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page came in place of the file"
    if len(content) != source.bytes:
        return f"{len(content)} bytes came, its card says {source.bytes}"
    return f"its content has another sha256 than its card ({source.sha256[:12]}…)"


def _reason(error: requests.RequestException) -> str:
    """A network error in few words."""
    if error.response is not None:
        return f"the host answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the host did not answer in time"
    if isinstance(error, requests.ConnectionError) and not isinstance(
        error, requests.exceptions.ChunkedEncodingError
    ):
        return "the host cannot be reached"
    return "the connection broke"
