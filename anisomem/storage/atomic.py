"""Files that are either whole or not there."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets ``fill`` write a temporary file beside ``path``, syncs it and gives it its name.

    Raises:
        OSError: As the file system does; what was at ``path`` is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        fill(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """:func:`write` for a text."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
