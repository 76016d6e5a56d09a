"""Opens files from elsewhere: regular ones only, unpacked, as UTF-8, within bounds."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import IO

from anisomem.errors import UserError

UNPACKED = 4 << 30  # bytes of a file, most of which may be columns that nobody reads
LINE = 64 << 20  # bytes of a line


def suffix(file: Path) -> str:
    """What a file is by its name, in lower case and without ``.gz``."""
    *_, last = ["", *file.suffixes]
    return (file.with_suffix("").suffix if last.lower() == ".gz" else last).lower()


def stem(file: Path) -> str:
    """A file's name without what :func:`suffix` says."""
    return Path(file.stem).stem if file.suffix.lower() == ".gz" else file.stem


def require_file(file: Path) -> None:
    """Checks that something can be read to its end.

    Raises:
        UserError: No such file, or a folder, a pipe or a device.
    """
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError) as error:
        if os.path.islink(file):
            raise UserError(f"{str(file)!r} is a link to what is not there") from None
        why = getattr(error, "strerror", None) or error
        raise UserError(f"no prompt file at {str(file)!r}: {why}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise UserError(f"{str(file)!r} is {what}, expected a file")


@contextmanager
def one_line(file: object) -> Iterator[None]:
    """What a file system, an archive or a parquet file complains about, in one line."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{file} cannot be read: a text in it is not UTF-8") from None
    except (OSError, EOFError, zlib.error, pa.ArrowException, MemoryError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{file} cannot be read: {str(said).splitlines()[0]}") from None


def lines(file: Path, strict: bool = True) -> Generator[str]:
    """The lines of a UTF-8 file, unpacked, verbatim; they end at newlines alone.

    Empty lines at its end do not count.

    Arguments:
        file: The file.
        strict: Whether a byte that is not UTF-8 is an error; else half a character stands for it,
            which no text has.

    Raises:
        UserError: It cannot be read, is not UTF-8, is too large, or has its lines end in CR alone.
    """
    require_file(file)
    total = empty = 0
    bare_cr = False
    with one_line(file), opened(file) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LINE + 1), b""), 1):
            if len(line) > LINE or total > UNPACKED:
                raise UserError(
                    f"{file}, line {number}: more than {LINE >> 20} MiB in a line, or "
                    f"{UNPACKED >> 30} GiB before it"
                )
            total += len(line)
            bare_cr = number == 1 and b"\r" in line.rstrip(b"\r\n")
            if line in (b"\n", b"\r\n"):
                empty += 1
                continue
            yield from repeat("", empty)
            empty = 0
            yield _decoded(line, file, number, total - len(line), strict)
    if bare_cr:
        raise UserError(f"{file}: its lines end in CR alone; save it with newlines")


def decoded(content: bytes, file: object) -> str:
    """UTF-8 as text with newlines alone, without a byte-order mark.

    Raises:
        UserError: It is something else.
    """
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text (byte {error.start})") from None


def _decoded(line: bytes, file: Path, number: int, before: int, strict: bool) -> str:
    if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{file} is UTF-16 text, expected UTF-8")
    try:
        errors = "strict" if strict else "surrogateescape"
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is not UTF-8 text (line {number}, byte {before + error.start})"
        ) from None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def opened(file: Path) -> IO[bytes] | gzip.GzipFile:
    """A file's bytes, unpacked."""
    if file.suffix.lower() == ".gz":
        return gzip.open(file)
    return file.open("rb")
