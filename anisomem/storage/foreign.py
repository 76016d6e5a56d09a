"""Files that come from elsewhere: looked at before anything reads them.

A named pipe or a device may never end, a link may lead nowhere, and settings may be anything.
"""

import json
import re
from pathlib import Path
from typing import Any

from anisomem.errors import UserError

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MOST_JSON = 2**26  # bytes; the largest vocabularies have a third of it


def located(path: str | None) -> Path | None:
    """The local folder or file that ``path`` names, None where it names neither.

    None and "" name nothing: a model need not have a place.

    Raises:
        UserError: What can be no name of a file, or something that is neither.
    """
    if not path:
        return None
    try:
        place = Path(path).expanduser()
        if not place.exists():
            if place.is_symlink():
                raise UserError(f"{path!r} is a broken link")
            return None
        if not (place.is_dir() or place.is_file()):
            raise UserError(f"{path!r} is no folder and no regular file")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model.path={path[:80]!r}: {error}") from None
    return place


def is_repository(path: str) -> bool:
    """Whether a path that names nothing here can name a repository of the hub, OWNER/NAME."""
    return REPOSITORY.fullmatch(path) is not None


def regular(file: Path) -> Path:
    """Returns the file, which is a regular one.

    Raises:
        UserError: It is not there, or no regular file, which may never end when it is read.
    """
    if file.is_file():
        return file
    if file.is_symlink() and not file.exists():
        raise UserError(f"{file} is a broken link")
    if file.is_dir():
        raise UserError(f"{file} is a folder; expected a file")
    if file.exists():
        raise UserError(f"{file} is no regular file (a pipe, a socket or a device)")
    raise UserError(f"{file} is not there")


def read_json(file: Path) -> dict[str, Any]:
    """What a JSON file of names and values says.

    Raises:
        UserError: It cannot be read, is too long, or says something else.
    """
    try:
        if regular(file).stat().st_size > MOST_JSON:
            raise UserError(f"{file} is larger than {MOST_JSON >> 20} MiB; expected settings")
        content = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise UserError(f"{file} is damaged, it holds no JSON: {first}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__}; expected names and values")
    return content
