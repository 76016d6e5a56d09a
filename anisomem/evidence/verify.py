"""``anisomem verify``: whether every number of a packet follows from its rows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anisomem.errors import UserError
from anisomem.evidence import archive, digits, rows, stated
from anisomem.evidence.archive import Manifest
from anisomem.evidence.derived import Derived, derived
from anisomem.evidence.digits import Sheet
from anisomem.evidence.pack import FORMAT, VERSION, versions
from anisomem.report import escape
from anisomem.run.base import CONFIG, PROMPTS
from anisomem.scan.notices import UNREAD

#: Files that are given and not computed, of a run and of a scan.
GIVEN = {
    rows.RUNS: {CONFIG, PROMPTS, "measured.json", stated.FILE, rows.GALLERY},
    rows.SCANS: {CONFIG, PROMPTS, rows.ORDINARY, "measured.json", UNREAD, "pictures.npz"},
}
SPARE = 2**16  # bytes by which a file may be longer before it is compared
ADVICE = re.compile(
    r"[;,] (choose another folder|(re)?run (its|the same) command|its command again|remove it and|"
    r"name the runs|run its detector|what it held is recorded).*"
)
PICTURES = {rows.GALLERY, "pictures.npz"}


@dataclass(frozen=True)
class Verified:
    """A packet of which everything agrees.

    Attributes:
        sha256: Of the packet.
        manifest: What it says of itself.
        made: What was computed.
    """

    sha256: str
    manifest: Manifest
    made: Derived

    def lines(self, packet: Path) -> list[str]:
        """What was checked and what was not, for a terminal."""
        sheets = [one for one in self.made.files.values() if isinstance(one, Sheet)]
        cells = sum(len(row) for sheet in sheets for row in sheet.rows)
        tables = len(self.made.files) - len(sheets) - 1
        lines = [
            f"{packet}: verified",
            f"  sha256 {self.sha256}",
            f"  {len(self.manifest.files):,} files are as their manifest says",
            f"  {tables} files of tables and {cells:,} cells of {len(sheets)} CSV files follow "
            f"from the rows of {self.made.rows:,} prompts",
        ]
        for run in self.made.runs:
            lines.append(f"  {run['folder']}: {run['model']}, identity {run['identity']}")
        lines.append("Not checked:")
        return [escape.plain(one) for one in (*lines, *(f"- {one}" for one in self.unchecked()))]

    def unchecked(self) -> list[str]:
        """What a packet cannot show."""
        lines = [
            "that the rows came from the model: whoever makes them up makes a packet of them; the "
            "same command on the same weights records them again, and the packet's sha256, told "
            "beforehand, shows that nothing was changed since",
            "the weights themselves, of which the packet has hashes or a commit: "
            + "; ".join(_weights(run) for run in self.made.runs),
        ]
        lines += [
            "the prompts, of which it has salted hashes"
            if self.manifest.said["redacted"]
            else "that the prompts are those of the file that was named",
            "what is known of prompts beforehand, such as labels",
            "settings that no number depends on, and the machine, the times and the versions of "
            "packages that it names",
        ]
        return [*lines, *self.made.unchecked]


def _weights(run: Mapping[str, Any]) -> str:
    model, weights = run["model_identity"], run["weights"]
    said = weights.get("revision") or model.get("path") or model.get("revision")
    return f"{run['model']} {said}" if said else f"{run['model']}, by its settings alone"


def verify(packet: Path) -> Verified:
    """Checks a packet, of which nothing is believed.

    Arguments:
        packet: The file.

    Raises:
        UserError: It is not what pack writes, a file is not as its manifest says, or a number does
            not follow from the rows; which one.
    """
    with TemporaryDirectory(prefix="anisomem-") as temporary:
        folder = Path(temporary)
        manifest = archive.unpack(packet, folder)
        redacted = _require_known(packet, manifest)
        try:
            with warnings.catch_warnings():  # a run records anew what is damaged; nobody does here
                warnings.filterwarnings("error", ".* is damaged", UserWarning)
                made = derived(folder, redacted)
        except (UserError, UserWarning) as error:
            raise UserError(f"{packet}: {_inside(error, folder)}") from None
        except FileNotFoundError as error:
            raise UserError(f"{packet} lacks {_inside(error.filename, folder)}") from None
        except Exception as error:  # what a stranger may write has no end
            said = f"{type(error).__name__}: {_inside(error, folder)}"[:200]
            raise UserError(f"{packet}: nothing can be computed of it ({said})") from error
        _require_files(packet, manifest, made, redacted)
        _require_digits(packet, folder, manifest, made)
        if made.unfit:
            raise UserError(
                f"{packet}: {made.unfit[0]!r} does not have the pictures that its settings ask for"
            )
    if [dict(one) for one in made.runs] != manifest.said["runs"]:
        name = _first_difference(manifest.said["runs"], made.runs)
        raise UserError(f"{packet}: its {archive.MANIFEST} says another {name} than its files")
    with packet.open("rb") as stream:
        return Verified(file_digest(stream, "sha256").hexdigest(), manifest, made)


def _inside(error: object, folder: Path) -> str:
    """What is wrong, with files as the packet names them; not how a run's owner mends it."""
    text = str(error).replace(f"{folder}/", "").replace(str(folder), "the packet")
    return ADVICE.sub("", " ".join(text.split()))


def _require_known(packet: Path, manifest: Manifest) -> bool:
    """Whether prompts are hidden, of a packet that can be read here."""
    said = manifest.said
    if said.get("format") != FORMAT:
        raise UserError(f"{packet} is no {FORMAT}")
    if said.get("version") != VERSION:
        raise UserError(
            f"{packet} is of version {said.get('version')!r}, and this reads {VERSION}; use the "
            "anisomem that it was packed with"
        )
    expected = {"format", "version", "redacted", "packed_with", "runs"}
    if set(said) != expected or type(said["redacted"]) is not bool:
        raise UserError(f"{packet}: its {archive.MANIFEST} is not what pack writes")
    packed = said["packed_with"]
    if not isinstance(packed, dict) or list(packed) != list(versions()):
        raise UserError(f"{packet}: its {archive.MANIFEST} is not what pack writes")
    return said["redacted"]


def _require_files(packet: Path, manifest: Manifest, made: Derived, redacted: bool) -> None:
    """Checks that a packet has the files that it must have, and none that it must not."""
    for name in made.files:
        if name not in manifest.files:
            raise UserError(f"{packet} lacks {name!r}, which its rows make")
    for name in manifest.files:
        if name not in made.files and not _is_given(name.split("/"), redacted):
            raise UserError(f"{packet} has {name!r}, which pack does not write")


def _is_given(parts: Sequence[str], redacted: bool) -> bool:
    given = GIVEN.get(parts[0], set()) - (PICTURES if redacted else set())
    if len(parts) == 3:
        return parts[2] in given
    of_store = parts[0] == rows.SCANS and parts[2].startswith("confirmed-")
    is_store = len(parts) == 4 and (parts[2] == rows.COMPONENTS or of_store)
    return is_store and (parts[3] == "identity.json" or parts[3].endswith(".parquet"))


def _require_digits(packet: Path, folder: Path, manifest: Manifest, made: Derived) -> None:
    """Checks every number."""
    for name, now in made.files.items():
        printed = now.printed() if isinstance(now, Sheet) else now
        if manifest.files[name][1] > 2 * len(printed.encode()) + SPARE:
            raise UserError(f"{packet}: {name!r} is longer than what its rows make")
        try:
            given = (folder / name).read_bytes().decode()
        except UnicodeDecodeError:
            raise UserError(f"{packet}: {name!r} is not UTF-8 text") from None
        differs = (
            digits.difference_of_sheets(given, now)
            if isinstance(now, Sheet)
            else digits.difference_of_texts(given, now)
        )
        if differs:
            raise UserError(f"{packet}: {name!r}, {differs}{_other_versions(manifest)}")


def _other_versions(manifest: Manifest) -> str:
    """Which packages are others here, which may compute or print otherwise."""
    packed, here = manifest.said["packed_with"], versions()
    other = [
        f"{name} {packed[name]} ({here[name]} here)" for name in here if packed[name] != here[name]
    ]
    return f"; packed with {', '.join(map(str, other))}" if other else ""


def _first_difference(said: object, runs: Sequence[Mapping[str, Any]]) -> str:
    if not isinstance(said, list) or len(said) != len(runs):
        return "number of runs"
    for one, run in zip(said, runs, strict=True):
        for name, value in run.items():
            if not isinstance(one, dict) or one.get(name) != value:
                return name
    return "list of runs"
