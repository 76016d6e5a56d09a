"""Files that are either whole or not there."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from anisomem.errors import UserError

ABANDONED = 3600.0  # seconds after which nobody is writing a partial file any more


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets ``fill`` write a temporary file beside ``path``, syncs it and gives it its name.

    Raises:
        UserError: The file system refuses; what was at ``path`` is untouched then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        raise UserError(
            f"cannot write {path}: {error.strerror}; nothing recorded is lost, make room or "
            "choose another folder with runs=FOLDER and run the same command again"
        ) from None


def write_text(path: Path, text: str) -> None:
    """:func:`write` for a text; the file is left alone where it says the same already."""
    content = text.encode()
    if not path.exists() or path.read_bytes() != content:
        write(path, lambda temporary: temporary.write_bytes(content))


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        UserError: It is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError:  # also where it is no UTF-8
        raise UserError(
            f"{path} is damaged; remove it and run the same command again, what is recorded stays"
        ) from None


def remove_abandoned(folder: Path) -> None:
    """Removes the partial files of processes that were killed."""
    for partial in folder.glob(".partial-*"):
        with suppress(FileNotFoundError):  # another process has just given it its name
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()


def sync(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
