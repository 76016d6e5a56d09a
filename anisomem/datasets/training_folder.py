"""A folder of a user's training pictures: which files are pictures, what they show, what they say.

Nothing in it is trusted: regular files of three formats within bounds. Training pictures that a
prompt set names by addresses are in ``pictures``.
"""

from __future__ import annotations

import json
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anisomem.datasets import bounded, images, places
from anisomem.datasets.unlabelled import USUAL
from anisomem.errors import UserError

MOST = 1_000_000  # pictures in a folder
SIDE = 1_024  # pixels of the longer side: larger pictures are made smaller when they are read
SHOWN = 5_000  # characters of a caption that are read
METADATA = "metadata.jsonl"  # captions as the datasets library keeps them beside pictures
#: What lies beside training pictures and is none: captions, tables, settings, latents, weights.
BESIDE = frozenset(
    {
        ".caption",
        ".csv",
        ".ini",
        ".json",
        ".jsonl",
        ".log",
        ".md",
        ".ndjson",
        ".npy",
        ".npz",
        ".parquet",
        ".pt",
        ".safetensors",
        ".toml",
        ".tsv",
        ".txt",
        ".yaml",
        ".yml",
    }
)

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingFolder:
    """The pictures of a folder.

    Attributes:
        place: The folder.
        names: Every file that may be a picture, by its path within, sorted; ``[n]``.
        beside: How many files are none: captions, tables, and what is hidden.
        digest: Of their names, sizes and times.
    """

    place: Path
    names: Sequence[str]
    beside: int
    digest: str

    def read(self, name: str) -> Picture:
        """A picture, uint8 ``[h, w, 3]``, no side longer than :data:`SIDE`.

        Raises:
            UserError: It is no PNG, JPEG or WebP, damaged, or too large.
        """
        return np.asarray(images.upright(self._content(name), shown(name), SIDE))

    def _content(self, name: str) -> bytes:
        try:
            with open(_descriptor(self.place / name), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise UserError(f"{shown(name)}: no regular file")
                if status.st_size > images.LIMIT:
                    raise UserError(f"{shown(name)}: larger than {images.LIMIT >> 20} MiB")
                return file.read(images.LIMIT + 1)
        except OSError as error:
            raise UserError(f"{shown(name)}: {error.strerror or error}") from None

    def captions(self, names: Sequence[str]) -> dict[str, str]:
        """What stands beside some of the pictures, those without a caption left out.

        A caption is the text in ``x.txt`` or ``x.caption`` beside ``x.png``, or of its row in a
        ``metadata.jsonl`` of its folder.
        """
        found: dict[str, str] = {}
        tabled: dict[str, set[str]] = defaultdict(set)
        for name in names:
            beside = (str(Path(name).with_suffix(suffix)) for suffix in (".txt", ".caption"))
            texts = filter(None, map(self._text, beside))
            if text := next(texts, ""):
                found[name] = text
            else:
                tabled[os.path.dirname(name)].add(os.path.basename(name))
        for folder, wanted in tabled.items():
            for name, text in self._metadata(folder, wanted):
                found[os.path.join(folder, name)] = text
        return found

    def _text(self, name: str) -> str:
        """A short text file's content in one line; "" where there is none."""
        try:
            if not stat.S_ISREG(os.stat(self.place / name).st_mode):
                return ""
            with open(self.place / name, encoding="utf-8-sig", errors="replace") as file:
                return " ".join(file.read(SHOWN).split())
        except (OSError, ValueError):
            return ""

    def _metadata(self, folder: str, wanted: set[str]) -> Iterator[tuple[str, str]]:
        """The captions of some pictures in the table of their folder, where there is one."""
        file = self.place / folder / METADATA
        if not file.is_file():
            return
        try:
            for line in bounded.lines(file, strict=False):
                row = _row(line)
                if (name := row.get("file_name")) in wanted:
                    texts = (row.get(column) for column in ("prompt", *USUAL))
                    if text := next((one for one in texts if isinstance(one, str)), ""):
                        yield str(name), " ".join(text[:SHOWN].split())
        except UserError:  # captions are company; pictures are compared without
            return


def found(path: str) -> TrainingFolder:
    """The pictures of a folder and its folders.

    Raises:
        UserError: No folder, no picture in it, too many, or a linked folder.
    """
    place = places.expanded(path)
    if not place.is_dir():
        what = "is a file" if os.path.lexists(place) else "is not there"
        raise UserError(f"pictures={path} {what}; give a folder of PNG, JPEG or WebP files")
    names, beside = [], 0
    for name in _below(place, path):
        hidden = os.path.basename(name).startswith(".")
        if hidden or os.path.splitext(name)[1].lower() in BESIDE:
            beside += 1
        else:
            names.append(name)
        if len(names) > MOST:
            raise UserError(f"pictures={path} has more than {MOST:,} files; give a part of them")
    if not names:
        more = f", only {beside:,} others" if beside else ""
        raise UserError(f"pictures={path} has no file that may be a picture{more}")
    names.sort()
    return TrainingFolder(place, names, beside, _digest(place, names))


def _below(place: Path, path: str) -> Iterator[str]:
    """All files in a folder and its folders by their path within; hidden folders are left out.

    Raises:
        UserError: One cannot be read, or is a link to a folder.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename!r} cannot be read: {error.strerror}")

    for folder, folders, files in os.walk(place, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if linked := [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            raise UserError(
                f"pictures={path} holds a link to another folder, "
                f"{str(Path(folder, linked[0]))!r}; give that folder's pictures in its place"
            )
        inside = os.path.relpath(folder, place)
        for name in files:
            yield name if inside == "." else os.path.join(inside, name)


def _digest(place: Path, names: Sequence[str]) -> str:
    digest = sha256()
    for name in names:
        try:
            status = os.stat(place / name)
            said: object = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            said = error.errno
        digest.update(f"{shown(name)} {said}\n".encode())
    return digest.hexdigest()


def _descriptor(file: Path) -> int:
    """Opens a file; one that is a pipe does not wait for who writes to it."""
    return os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))


def _row(line: str) -> Mapping[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def shown(name: str) -> str:
    """A file's name as text in one line; names may be bytes that are none, and hold any."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
