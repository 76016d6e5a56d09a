"""Files that are either whole or not there, and what is read of those that should be.

Files that may be somebody else's are looked at first, in ``foreign``.
"""

import errno
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError

ABANDONED = 3600.0  # seconds after which nobody is writing a partial file any more
MOST_ARRAYS = 2**30  # bytes of an .npz file once it is unpacked
PARTIAL = re.compile(r"\.partial-[0-9a-f]{32}(\.\w+)?")  # no name that somebody else gives

_swept: set[Path] = set()  # folders that this process has cleared


class CannotWriteError(UserError):
    """The file system refuses; what was there is untouched.

    Arguments:
        message: What and why.
        number: The system's, of the error.

    Attributes:
        forbidden: Whether the place may only be read, which a finished run can do without.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)  # alone: what a process sends another is made of this
        self.forbidden = number in (errno.EROFS, errno.EACCES, errno.EPERM)


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets ``fill`` write a temporary file beside ``path``, syncs it and gives it its name.

    The first file that a process writes to a folder clears away what killed ones left there.

    Raises:
        CannotWriteError: The file system refuses; what was at ``path`` is untouched then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:
            _swept.add(path.parent)
            remove_abandoned(path.parent)
        temporary = path.with_name(f".partial-{uuid4().hex}{path.suffix}")
        try:
            fill(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise CannotWriteError(
            f"cannot write {path}: {error.strerror or error}; nothing recorded is lost, make room "
            "or choose another folder, and give the same command again",
            error.errno,
        ) from None


def write_bytes(path: Path, content: bytes) -> None:
    """:func:`write` for what is made already; a file that holds the same is left alone."""
    if not path.is_file() or read_bytes(path) != content:
        write(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` of a text."""
    write_bytes(path, text.encode())


def read_bytes(path: Path) -> bytes:
    """A file's content; a pipe, for which one would wait for ever, is none.

    Raises:
        FileNotFoundError: Nothing is there.
        UserError: It is no file, or must not be read.
    """
    if not path.is_file() and os.path.lexists(path):
        raise UserError(f"{path} is no file; remove it and run the same command again")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def damaged(path: Path) -> UserError:
    """The error for a file of a run that does not hold what was written."""
    return UserError(
        f"{path} is damaged; remove it and run the same command again, what is recorded stays"
    )


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file says, an object.

    Raises:
        UserError: It is damaged.
    """
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError):  # also where it is no UTF-8
        raise damaged(path) from None
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays by name, as ``.npz``."""
    write(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` file; nothing in it is unpickled.

    Raises:
        FileNotFoundError: Nothing is there.
        UserError: It is damaged.
    """
    if not path.is_file():
        read_bytes(path)
    try:
        with ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_ARRAYS:
                raise ValueError
        with np.load(path) as stored:
            return {key: stored[key] for key in stored.files}
    except Exception:  # zip, zlib and numpy have an error each for what may be wrong
        raise damaged(path) from None


def remove_abandoned(folder: Path) -> None:
    """Removes the partial files of processes that were killed."""
    for partial in folder.glob(".partial-*"):
        with suppress(OSError):  # another process has just given it its name, or it must not be
            old = time.time() - partial.lstat().st_mtime > ABANDONED
            if old and PARTIAL.fullmatch(partial.name) and not partial.is_dir():
                partial.unlink()


def sync(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
