"""The file of a packet: a zip of one form, of which every byte follows from what it holds.

Entries stand in the order of their names, as they are, with one time and no more than a name. So
equal contents are equal files, nothing unpacks to more than it is, and what hides in a zip (a
second entry of a name, a link, a comment, bytes before or behind) is seen by writing it again.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from anisomem.errors import UserError
from anisomem.storage.digests import sha256_of_file
from anisomem.storage.foreign import regular

MANIFEST = "manifest.json"
MOST_BYTES = 2**31  # of a packet
MOST_FILES = 1000
MOST_LISTED = 2**24  # bytes of the zip's own list of files, and of the manifest
END = struct.Struct("<4s4H2LH")  # of a zip without a comment
CHUNK = 2**20
TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Manifest:
    """What a packet says of itself.

    Attributes:
        said: All but the files.
        files: The sha256 and the size in bytes of every other file, by its name.
    """

    said: Mapping[str, Any]
    files: Mapping[str, tuple[str, int]]

    @property
    def content(self) -> bytes:
        """The file."""
        files = {
            name: {"sha256": digest, "size": size}
            for name, (digest, size) in sorted(self.files.items())
        }
        return (json.dumps({**self.said, "files": files}, indent=1) + "\n").encode()


def manifest_of(folder: Path, said: Mapping[str, Any]) -> Manifest:
    """The manifest of all files of a folder."""
    files = {
        file.relative_to(folder).as_posix(): (sha256_of_file(file), file.stat().st_size)
        for file in folder.rglob("*")
        if file.is_file()
    }
    return Manifest(said, files)


def write(folder: Path, manifest: Manifest, out: Path) -> None:
    """Writes a packet.

    Arguments:
        folder: Where its files lie.
        manifest: Its manifest.
        out: The file.

    Raises:
        UserError: It has more, or more bytes, than a packet may have.
    """
    if len(manifest.files) >= MOST_FILES or _size(manifest) > MOST_BYTES:
        raise UserError(
            f"a packet has up to {MOST_FILES:,} files and {MOST_BYTES >> 30} GiB, and this has "
            f"{len(manifest.files):,} of {_size(manifest) / 2**30:.1f} GiB; pack runs one by one"
        )
    with ZipFile(out, "w", ZIP_STORED, allowZip64=False) as packet:
        packet.writestr(_entry(MANIFEST), manifest.content)
        for name in sorted(manifest.files):
            with (folder / name).open("rb") as source, packet.open(_entry(name), "w") as sink:
                while chunk := source.read(CHUNK):
                    sink.write(chunk)


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, TIME)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16
    return entry


def _size(manifest: Manifest) -> int:
    return sum(size for _, size in manifest.files.values())


def unpack(packet: Path, folder: Path) -> Manifest:
    """Takes a packet apart, of which nothing is believed.

    Arguments:
        packet: The file.
        folder: An empty folder.

    Raises:
        UserError: It is no packet, or a file of it is not as its manifest says; which one.
    """
    size = regular(packet).stat().st_size
    if size > MOST_BYTES + MOST_LISTED:
        raise UserError(f"{packet} has more than {MOST_BYTES >> 30} GiB, which no packet has")
    _require_plain_end(packet, size)
    try:
        with ZipFile(packet) as content:
            entries = content.infolist()
            _require_plain(packet, entries)
            if sum(entry.file_size for entry in entries) > size:
                raise UserError(f"{packet}: its files say that they are larger than it is")
            by_name = {entry.filename: entry for entry in entries}
            if MANIFEST not in by_name:
                raise UserError(f"{packet} is no packet: it has no {MANIFEST}")
            if by_name[MANIFEST].file_size > MOST_LISTED:
                raise UserError(f"{packet}: its {MANIFEST} is larger than any that pack writes")
            manifest = _read(packet, content.read(MANIFEST))
            _require_same_names(packet, set(by_name) - {MANIFEST}, set(manifest.files))
            for name in sorted(manifest.files):
                _extract(packet, content, by_name[name], folder / name, manifest.files[name])
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{packet} is damaged: {str(error)[:200]}") from None
    except OSError as error:
        raise UserError(f"{packet} cannot be unpacked: {error.strerror or error}") from None
    _require_canonical(packet, folder, manifest)
    return manifest


def _require_plain_end(packet: Path, size: int) -> None:
    """Checks that a zip ends here, and lists no more than a packet."""
    with packet.open("rb") as stream:
        stream.seek(max(0, size - END.size))
        end = stream.read()
    if len(end) < END.size or not end.startswith(b"PK\5\6"):
        raise UserError(f"{packet} is no packet: it does not end as a zip that pack has written")
    _, _, _, _, count, listed, _, _ = END.unpack(end)
    if count > MOST_FILES or listed > MOST_LISTED:
        raise UserError(f"{packet} lists more than {MOST_FILES:,} files, which no packet has")


def _require_plain(packet: Path, entries: Sequence[ZipInfo]) -> None:
    """Checks names and kinds of a zip's entries, before any is read."""
    seen: set[str] = set()
    for entry in entries:
        name = entry.orig_filename
        parts = name.split("/")
        if name in seen:
            raise UserError(f"{packet} has {name!r} twice")
        seen.add(name)
        if {"", ".", ".."} & set(parts) or "\\" in name or not name.isprintable():
            raise UserError(f"{packet} names {name[:200]!r}, which is no place in a packet")
        if len(parts) > 4 or max(len(part.encode()) for part in parts) > 255:
            raise UserError(f"{packet} names {name[:200]!r}, which is no place in a packet")
        if entry.external_attr >> 16 != 0o100644:
            raise UserError(f"{packet}: {name!r} is a link or no regular file")
        if entry.compress_type != ZIP_STORED or entry.flag_bits & 1:
            raise UserError(f"{packet}: {name!r} is compressed or encrypted; pack writes neither")
        if entry.file_size != entry.compress_size:
            raise UserError(f"{packet}: {name!r} says that it is larger than it is")


def _read(packet: Path, content: bytes) -> Manifest:
    try:
        said = json.loads(content)
        files = {
            str(name): (str(one["sha256"]), int(one["size"]))
            for name, one in said.pop("files").items()
        }
        manifest = Manifest(said, files)
        whole = manifest.content == content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{packet}: its {MANIFEST} is not what pack writes")
    return manifest


def _require_same_names(packet: Path, held: set[str], listed: set[str]) -> None:
    if added := sorted(held - listed):
        gone = sorted(listed - held)
        more = f", and lacks {gone[0]!r}" if gone else ""
        raise UserError(f"{packet} has {added[0]!r}, which its manifest does not list{more}")
    if gone := sorted(listed - held):
        raise UserError(f"{packet} lacks {gone[0]!r}, which its manifest lists")


def _extract(
    packet: Path, content: ZipFile, entry: ZipInfo, file: Path, listed: tuple[str, int]
) -> None:
    digest, size = listed
    if entry.file_size != size:
        raise UserError(
            f"{packet}: {entry.filename!r} has {entry.file_size:,} bytes, and its manifest says "
            f"{size:,}"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    total = sha256()
    try:
        with content.open(entry) as source, file.open("xb") as sink:
            while chunk := source.read(CHUNK):
                total.update(chunk)
                sink.write(chunk)
    except BadZipFile:
        raise UserError(f"{packet}: {entry.filename!r} is not what was packed") from None
    if total.hexdigest() != digest:
        raise UserError(
            f"{packet}: {entry.filename!r} is not what was packed, its sha256 is "
            f"{total.hexdigest()} and its manifest says {digest}"
        )


def _require_canonical(packet: Path, folder: Path, manifest: Manifest) -> None:
    """Checks that the packet is the one file that its contents make."""
    with TemporaryDirectory(prefix="anisomem-") as beside:  # no file of the packet is called so
        again = Path(beside) / "again.zip"
        write(folder, manifest, again)
        if sha256_of_file(again) == sha256_of_file(packet):
            return
    raise UserError(
        f"{packet} holds the files of a packet and is none that pack has written: times, order, "
        "comments, or something beside them"
    )
