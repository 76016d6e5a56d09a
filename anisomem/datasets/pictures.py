"""Training pictures that a set names by addresses: downloaded once, kept under their sha256.

How a picture is opened is in ``images``, and how hosts are asked in ``web``.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np

from anisomem.console import progress
from anisomem.datasets import cards, fetch, images, published, web
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError, one_of
from anisomem.storage import atomic

AT_ONCE = 8  # downloads; most of the time is spent on hosts that no longer answer
PATIENCE = 300.0  # seconds for one picture, however slowly its bytes drip
SMALLEST = 32  # pixels a side; below are trackers and spacers
FLAT = 8  # of 255 levels, by which a picture of one colour may vary: JPEG is not exact
HEADERS = {"User-Agent": "anisomem (research; pictures named by published prompt sets)"}
HINT = "run anisomem fetch NAME --pictures"


class NoPictureError(Exception):
    """What came is not the picture; says why."""


class Album:
    """The pictures in a folder, and what came of every address.

    ``pictures/manifest.json`` maps addresses to the sha256 of their picture, under which it lies
    beside it (``pictures``), or to the reason why there is none (``dead``).

    Arguments:
        folder: The folder of the data.

    Raises:
        UserError: The manifest is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pictures"
        self.manifest = self.folder / "manifest.json"
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        said = atomic.read_json(self.manifest) if self.manifest.exists() else {}
        self.pictures: dict[str, str] = said.get("pictures", {})
        self.dead: dict[str, str] = said.get("dead", {})

    def find(self, url: str) -> str | None:
        """The sha256 of an address's picture, None where it is not at hand."""
        digest = self.pictures.get(url)
        return digest if digest and (self.folder / digest).is_file() else None

    def content(self, digest: str) -> bytes:
        """A picture as it came.

        Raises:
            UserError: It is damaged.
        """
        place = self.folder / digest
        content = place.read_bytes()
        if sha256(content).hexdigest() != digest:
            raise UserError(f"{place} is damaged; remove it and {HINT} again")
        return content

    def why(self, url: str) -> str:
        """Why an address has no picture here."""
        return self.dead.get(url, f"never fetched, {HINT}")

    def add(self, url: str, content: bytes) -> None:
        """Keeps an address's picture; it is whole before the manifest names it."""
        digest = sha256(content).hexdigest()
        if not (self.folder / digest).is_file():
            atomic.write(self.folder / digest, lambda file: file.write_bytes(content))
        self._note("pictures", url, digest)

    def refuse(self, url: str, reason: str) -> None:
        """Notes why an address has none."""
        self._note("dead", url, reason)

    def _note(self, what: str, url: str, said: str) -> None:
        with self._lock:
            self._read()  # another process may have added to it
            self.pictures.pop(url, None)
            self.dead.pop(url, None)
            both = {"pictures": self.pictures, "dead": self.dead}
            both[what][url] = said
            text = json.dumps(both, indent=1, sort_keys=True, ensure_ascii=False)
            atomic.write_text(self.manifest, f"{text}\n")


def fetch_pictures(name: str, data: str | None = None) -> Iterator[str]:
    """Downloads the pictures that a set, or ``all``, names and that are not at hand.

    Yields how many addresses and prompts have one, every address without one and why, and the
    addresses that serve the same bytes: one picture, or the placeholder of a host.

    Arguments:
        name: The name of a set's card whose files are at hand, or ``all``.
        data: Folder of the data; null: the user's cache.

    Raises:
        UserError: An unknown name, a set that is not at hand, or no room.
    """
    one_of("published prompt set", name, [*cards.names(), "all"])
    album = Album(cards.folder(data))
    for each in cards.names() if name == "all" else [name]:
        prompts = published.load(each, data)
        urls = sorted({url for named in addresses(prompts) for url in named})
        if missing := [url for url in urls if album.find(url) is None]:
            _download_all(missing, album, each)
        yield from _coverage(prompts, urls, album)


def addresses(prompts: PromptSet) -> list[Sequence[str]]:
    """The distinct addresses that every prompt names."""
    return [list(dict.fromkeys(filter(None, named))) for named in prompts.urls or []]


def _download_all(urls: Sequence[str], album: Album, title: str) -> None:
    def one(url: str) -> None:
        try:
            content = download(url)
            check(content)
        except NoPictureError as reason:
            album.refuse(url, str(reason))
        else:
            album.add(url, content)

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        with progress.bar(f"pictures of {title}", len(urls), "picture") as bar:
            for _ in pool.map(one, urls):
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)  # what is at hand stays, the same command continues


def download(url: str) -> bytes:
    """The bytes at an address.

    Raises:
        NoPictureError: The host does not serve it, or it is too large or too slow.
    """
    content, begin = bytearray(), time.monotonic()
    try:
        with (
            web.session() as session,
            web.opened(session, url, HEADERS) as answer,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_content(web.CHUNK):
                content += chunk
                if len(content) > images.LIMIT:
                    raise NoPictureError(f"larger than {images.LIMIT >> 20} MiB")
                if time.monotonic() - begin > PATIENCE:
                    raise NoPictureError(f"not complete after {PATIENCE:.0f} s")
    except web.FAILURES as error:
        raise NoPictureError(web.reason(error)) from None
    return bytes(content)


def check(content: bytes) -> None:
    """Decodes a picture to see that it is one.

    Raises:
        NoPictureError: A page, no picture, or one that shows nothing.
    """
    if fetch.is_html(content):
        raise NoPictureError("an HTML page came in place of a picture")
    try:
        colours = np.asarray(images.decoded(content, "picture"))
    except UserError as error:
        raise NoPictureError(str(error).removeprefix("picture: ")) from None
    height, width = colours.shape[:2]
    if min(width, height) < SMALLEST:
        raise NoPictureError(f"{width}×{height} pixels, expected {SMALLEST} a side at least")
    if (np.ptp(colours, axis=(0, 1)) <= FLAT).all():
        raise NoPictureError("a picture of one colour")


def _coverage(prompts: PromptSet, urls: Sequence[str], album: Album) -> Iterator[str]:
    naming = [named for named in addresses(prompts) if named]
    digests = {url: digest for url in urls if (digest := album.find(url))}
    have = sum(any(url in digests for url in named) for named in naming)
    yield (
        f"{prompts.name}: pictures of {len(digests)} of {len(urls)} addresses, so of {have} of "
        f"{len(naming)} prompts that name one, in {album.folder}"
    )
    for url in urls:
        if url not in digests:
            yield f"dead: {url}: {album.why(url)}"
    groups = defaultdict(list)
    for url, digest in digests.items():
        groups[digest].append(url)
    for same in groups.values():
        if len(same) > 1:
            yield f"the same bytes, one picture or a host's placeholder: {', '.join(same)}"
