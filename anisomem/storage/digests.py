"""Digests of descriptions and of files, and in what two descriptions differ.

What a run's digest is made of is :mod:`anisomem.run.identity`.
"""

import json
from collections.abc import Mapping
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anisomem.errors import UserError
from anisomem.storage.foreign import regular

LONGEST, CUT = 220, 120  # bytes of a file's name without its ending
MOST_FILES = 10_000  # in the folder of a model; `/tmp` by mistake would be read for hours


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of a description, independent of the order of its entries."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_name(text: str, suffix: str) -> str:
    """The name of a file that any text has, its own alone, in at most 240 bytes.

    A longer one is cut, with the text's digest behind it.
    """
    name = quote(text, safe="")
    if len(name) > LONGEST:
        name = f"{name[:CUT]}-{sha256(text.encode()).hexdigest()}"
    return f"{name}{suffix}"


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of a pipeline's weights and configuration files.

    Raises:
        UserError: One of them is no regular file or cannot be read, or there are too many for the
            folder of a model.
    """
    total = sha256()
    for file in _of_a_pipeline(folder):
        total.update(f"{file.relative_to(folder)} {sha256_of_file(file)}\n".encode())
    return total.hexdigest()


def stamp(place: Path) -> str:
    """Sizes and times of the same files, or of the one: whether they changed, without reading.

    Raises:
        UserError: There are too many for the folder of a model, or one has gone meanwhile.
    """
    files = _of_a_pipeline(place) if place.is_dir() else [place]
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        regular(Path(error.filename or place))  # says of a link that it is broken
        raise UserError(f"{place} cannot be read: {error.strerror}") from None
    return digest({str(f): [s.st_size, s.st_mtime_ns] for f, s in zip(files, stats, strict=True)})


def _of_a_pipeline(folder: Path) -> list[Path]:
    files = list(islice(folder.rglob("*"), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise UserError(f"{folder} holds more than {MOST_FILES:,} files, which no model does")
    kinds = (".safetensors", ".json", ".txt")
    return [file for file in sorted(files) if file.suffix in kinds and not file.is_dir()]


def sha256_of_file(file: Path) -> str:
    """sha256 of a file's content.

    Raises:
        UserError: It is no regular file or cannot be read.
    """
    try:
        with regular(file).open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the entries in which two descriptions differ."""
    names = []
    for name in sorted({*a, *b}):
        left, right = a.get(name), b.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            names += differences(left, right, f"{prefix}{name}.")
        elif left != right:
            names.append(prefix + name)
    return names
