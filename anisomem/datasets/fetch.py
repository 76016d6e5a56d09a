"""Downloads the files of published prompt sets; each gets its name once it is verified.

What the files mean is said in ``published``; training pictures are fetched by ``pictures``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import requests

from anisomem.console import progress
from anisomem.datasets import cards, tables, web
from anisomem.datasets.cards import PublishedFile
from anisomem.errors import UserError, one_of
from anisomem.storage import atomic

LARGEST = 8 << 30  # bytes of a file of which nobody says the size
MEGABYTE = 10**6
PAGE = 512  # bytes by which a page is known
PAGE_CAME = "an HTML page came in place of the file"
HTML = (b"<!doctype html", b"<html")
Content = bytes  # a pinned file has a property of that name


class Pinned(Protocol):
    """A file whose content is known before it is here."""

    @property
    def url(self) -> str:
        """Where it can be downloaded."""

    @property
    def sha256(self) -> str:
        """The sha256 of the content."""

    @property
    def bytes(self) -> int | None:
        """Its size, where that is known."""

    def has(self, content: Content) -> bool:
        """Whether this is its content."""


def fetch(name: str, data: str | None = None) -> Iterator[str]:
    """Downloads what is missing of a set, or of ``all``; yields a line on each file's licence.

    Arguments:
        name: The name of a set's card, or ``all``.
        data: Folder to look in and to download to; null: the user's cache.

    Raises:
        UserError: An unknown name, a host that does not answer, another content than the card's,
            or no room; a file that is there already is untouched then.
    """
    one_of("published prompt set", name, [*cards.names(), "all"])
    chosen = [cards.read(each) for each in (cards.names() if name == "all" else [name])]
    folder = cards.folder(data)
    sources = {(s.repository, s.path): s for card in chosen for s in card.sources}
    with web.session() as connections:
        for source in sources.values():
            state = "at hand"
            if not _at_hand(source, folder):
                download(source, source.place(folder), connections)
                state = f"fetched to {source.place(folder)}"
            yield f"{source.repository}/{source.path}: {state}; licence: {source.licence}"
    for missing in (one for card in chosen for one in card.unpinned if not one.find(folder)):
        yield (
            f"{missing.repository}/{missing.path}: not fetched, since no sha256 of it is known; "
            f"{missing.url} is read from anywhere below {folder}; licence: {missing.licence}"
        )
    for hub in (card.hub for card in chosen if card.hub):
        columns = tables.Columns({"prompt": hub.column})
        table = tables.hub(hub.repository, columns, hub.split, hub.revision)  # fills its cache
        yield f"{hub.repository}: {len(table.rows)} prompts at hand; licence: {hub.licence}"


def _at_hand(source: PublishedFile, folder: Path) -> bool:
    try:
        return source.find(folder) is not None
    except UserError:  # another file of its name, which a download may replace
        return False


def download(source: Pinned, place: Path, session: web.Session) -> None:
    """Downloads a file to ``place``, continuing what an earlier attempt left beside it.

    Raises:
        UserError: What :func:`fetch` refuses; what came is kept where the same command can
            continue.
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
    except OversizedError:
        with partial.open("rb") as file:
            page = is_html(file.read(PAGE))
        partial.unlink()
        said = PAGE_CAME if page else f"more than its {source.bytes or LARGEST} bytes came"
        raise UserError(f"{source.url}: {said}; nothing was replaced") from None
    except web.FAILURES as error:
        had = partial.stat().st_size if partial.exists() else 0
        size = "" if source.bytes is None else f" of {source.bytes}"
        raise UserError(
            f"{source.url}: {web.reason(error)} after {had}{size} bytes; the same command again "
            "continues"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror}; nothing was replaced, make room or name "
            "another folder with paths.data=FOLDER (XDG_CACHE_HOME for the user's cache)"
        ) from None


class OversizedError(Exception):
    """More comes than the file can have."""


def _receive(source: Pinned, partial: Path, session: web.Session) -> None:
    """Appends to ``partial`` what it lacks, or writes all where the host sends all.

    Raises:
        OversizedError: More comes.
    """
    had = partial.stat().st_size if partial.exists() else 0
    if source.bytes is not None and had >= source.bytes:
        return
    # A compressed answer's ranges would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with web.opened(session, source.url, headers) as answer:
        if had and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it came before, and what it is will be checked
        answer.raise_for_status()
        continues = answer.headers.get("Content-Range", "").startswith(f"bytes {had}-")
        append = answer.status_code == requests.codes.partial and continues
        come = had if append else 0
        size = source.bytes and -(-source.bytes // MEGABYTE)
        bar = progress.bar(partial.stem, size, "megabyte")
        with bar, partial.open("ab" if append else "wb") as file:
            bar.update(come // MEGABYTE)
            for chunk in answer.iter_content(web.CHUNK):
                before, come = come, come + len(chunk)
                if come > (source.bytes or LARGEST):
                    raise OversizedError
                file.write(chunk)
                bar.update(come // MEGABYTE - before // MEGABYTE)


def difference(source: Pinned, content: Content) -> str:
    """What came in place of the file."""
    if is_html(content):
        return PAGE_CAME
    if source.bytes not in (None, len(content)):
        return f"{len(content)} bytes came, its card says {source.bytes}"
    return f"its content has sha256 {sha256(content).hexdigest()}, expected {source.sha256}"


def is_html(content: Content) -> bool:
    """Whether a page came, such as a login or an apology."""
    return content[:PAGE].lstrip().lower().startswith(HTML)
