"""Which weights were read: their hashes, and whether they are those that were expected.

The same model lies in many places, and some of them are mirrors of what was withdrawn. A file's
sha256 is what the hub shows beside it; the whole's is over the files' hashes and their names in
the folder, and of a checkpoint in one file it is the file's own. Configurations do not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anisomem.console import progress
from anisomem.errors import UserError
from anisomem.models import files
from anisomem.storage import digests

LENGTH = 64  # digits of a sha256
PROGRESS = "sha256 of the weights"


@dataclass(frozen=True)
class WeightFiles:
    """The files of weights that a model was loaded from.

    Attributes:
        place: The folder, or the one file.
        files: The files that were read.
    """

    place: Path
    files: Sequence[Path]

    @classmethod
    def of(cls, place: Path, parts: Sequence[str], variant: str | None) -> WeightFiles:
        """Those of a checkpoint in one file, or of the parts of a folder that are loaded.

        Arguments:
            place: The file, or the folder.
            parts: The names of the parts that are loaded.
            variant: The variant that was asked for.
        """
        if place.is_file():
            return cls(place, [place])
        read: list[Path] = []
        for name in sorted(parts):
            for stem in files.STEMS if (place / name).is_dir() else ():
                if files.variants(place / name, stem):
                    read += files.weights(place / name, stem, variant).files
        return cls(place, read)

    @property
    def by_name(self) -> dict[str, str]:
        """The sha256 of every file, by its path in the folder."""
        with progress.phase(PROGRESS, brief=True):
            return {self._name(file): _sha256(*_state(file)) for file in self.files}

    @property
    def whole(self) -> str:
        """The sha256 of all of them together."""
        hashes = self.by_name
        return next(iter(hashes.values())) if self.place.is_file() else digests.digest(hashes)

    def _name(self, file: Path) -> str:
        return file.name if self.place.is_file() else file.relative_to(self.place).as_posix()

    @property
    def described(self) -> dict[str, Any]:
        """Both, for a card."""
        return {"sha256": self.whole, "files": self.by_name}

    def require(self, expected: str | Mapping[str, str], setting: str) -> None:
        """Checks that they are those that were expected.

        Arguments:
            expected: The sha256 of the whole, or of some files by their paths.
            setting: Where it stands, for messages.

        Raises:
            UserError: They are others, or a file is not among them.
        """
        actual = self.by_name
        if isinstance(expected, str):
            if self.whole != expected.lower():
                raise UserError(self._other(setting, expected.lower(), actual))
            return
        for name, value in expected.items():
            if name not in actual:
                raise UserError(
                    f"{setting} names {name[:80]!r}, which is not among the weights that are read"
                    f" at {self.place}: {', '.join(actual)}"
                )
            if actual[name] != value.lower():
                raise UserError(
                    f"{self.place / name} has sha256 {actual[name]}, and {setting} says"
                    f" {value.lower()}: it is another file than was expected"
                )

    def _other(self, setting: str, expected: str, actual: Mapping[str, str]) -> str:
        said = (
            f"the weights at {self.place} have sha256 {self.whole}, and {setting} says {expected}"
        )
        if alike := [name for name, value in actual.items() if value == expected]:
            return (
                f"{said}, which is that of one file; give '{setting}={{{alike[0]}: {expected}}}'"
            )
        return f"{said}: they are others than were expected"


def checked(expected: Any, setting: str) -> None:
    """Checks that something can be compared with hashes.

    Raises:
        UserError: It is no sha256, and no mapping of files to such.
    """
    values = expected.values() if isinstance(expected, Mapping) else [expected]
    right = all(
        isinstance(value, str) and re.fullmatch(rf"[0-9a-fA-F]{{{LENGTH}}}", value)
        for value in values
    )
    if not right or not values:
        raise UserError(
            f"{setting} must be a sha256 of {LENGTH} digits, or a mapping of files to such,"
            f" '{setting}={{unet/diffusion_pytorch_model.safetensors: SHA256}}'; got {expected!r}"
        )


def _state(file: Path) -> tuple[Path, int, int]:
    """A file as it is now; changed ones are read again."""
    stat = file.stat()
    return file, stat.st_size, stat.st_mtime_ns


@cache
def _sha256(file: Path, size: int, changed: int) -> str:
    return digests.sha256_of_file(file)
