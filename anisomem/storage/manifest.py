"""What a report has written into a folder, so that the next one removes what it no longer says.

Writing them is :mod:`anisomem.report.folder`.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path, PurePosixPath

from anisomem.errors import UserError
from anisomem.storage import atomic, digests

FOLDERS = ("", "more", "figures")  # below a report's folder, where a report writes
LARGEST = 1 << 24  # bytes of a manifest that is read


class Manifest:
    """The files of a report, with the sha256 of what was written.

    Arguments:
        folder: The report's folder.
        kind: The kind of the report; other kinds may write there too.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self._file = folder, folder / f".written-by-{kind}.json"
        self._written: dict[str, str] = {}

    def text(self, name: str, content: str) -> Path:
        """Writes a text, see :func:`anisomem.storage.atomic.write_text`."""
        path = self.folder / name
        atomic.write_text(path, content)
        self.add(path)
        return path

    def add(self, *paths: Path) -> None:
        """Takes in files that were written."""
        for path in paths:
            name = path.relative_to(self.folder).as_posix()
            self._written[name] = sha256(path.read_bytes()).hexdigest()

    def names(self) -> list[str]:
        """The names of what was written."""
        return sorted(self._written)

    def may_write(self, name: str) -> bool:
        """Whether nothing stands there, or what an earlier report has written."""
        path = self.folder / name
        return not os.path.lexists(path) or _is(path, self._earlier().get(name, ""))

    def close(self) -> None:
        """Removes what an earlier report has written and this one has not, and remembers this.

        A file that has changed since is somebody else's and stays.
        """
        for name, digest in self._earlier().items():
            path = self.folder / name
            if name not in self._written and _is(path, digest):
                path.unlink(missing_ok=True)
        atomic.write_text(self._file, json.dumps(self._written, indent=1, sort_keys=True) + "\n")

    def standing(self) -> str | None:
        """A digest of the earlier report that is here; None where a file is not as written."""
        written = self._earlier()
        whole = all(_is(self.folder / name, digest) for name, digest in written.items())
        return digests.digest(written) if written and whole else None

    def _earlier(self) -> dict[str, str]:
        """What the manifest here names; it may be a stranger's, so only what a report writes."""
        try:
            if self._file.is_symlink() or self._file.stat().st_size > LARGEST:
                return {}
            named = atomic.read_json(self._file)
        except (OSError, UserError, RecursionError):  # none, or damaged: nothing is known ours
            return {}
        if not isinstance(named, dict):
            return {}
        return {name: digest for name, digest in named.items() if _below(name)}


def _below(name: str) -> bool:
    """Whether it names a file where a report writes."""
    path = PurePosixPath(name)
    parent = "" if len(path.parts) == 1 else path.parts[0]
    return (
        len(path.parts) in (1, 2)
        and ".." not in path.parts
        and not path.is_absolute()
        and not path.name.startswith(".")
        and parent in FOLDERS
    )


def _is(path: Path, digest: str) -> bool:
    """Whether a file of this content lies there, no link on the way."""
    regular = path.is_file() and not path.is_symlink() and not path.parent.is_symlink()
    return regular and sha256(path.read_bytes()).hexdigest() == digest
