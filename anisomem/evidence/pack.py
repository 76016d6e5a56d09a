"""``anisomem pack``: a finished run or scan as one file that a stranger can verify."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anisomem.benchmark.case import Case, stored_cases
from anisomem.benchmark.results import Results
from anisomem.errors import UserError
from anisomem.evidence import archive, redaction, rows
from anisomem.evidence.derived import Derived, derived
from anisomem.evidence.digits import Sheet
from anisomem.evidence.reading import of_ones_own, unknown_detectors
from anisomem.report.standing import LIBRARIES
from anisomem.run.base import CONFIG
from anisomem.run.stored import read
from anisomem.scan import stored
from anisomem.storage import atomic
from anisomem.storage.store import ScoreStore

FORMAT, VERSION = "anisomem evidence packet", 1
SALT = ".salt"  # ends the name of the file beside a packet that has its salt


def pack(
    files: Sequence[Path], out: Path, redact: bool = False, allowed: Collection[str] = ()
) -> list[str]:
    """Packs finished runs, or finished scans; what is said of it, a line each.

    Arguments:
        files: The runs' stored configurations.
        out: The packet, which must not be there.
        redact: Whether prompts are hidden.
        allowed: What configurations may name besides, see :func:`anisomem.run.stored.read`.

    Raises:
        UserError: A run is not finished or not whole, or something is there already.
    """
    salt_file = out.with_name(out.name + SALT)
    for place in (out, *([salt_file] if redact else [])):
        if os.path.lexists(place):
            raise UserError(f"{place} is there already; remove it, or give another --out")
    scans = [file.parent for file in files if _is_scan(file.parent)]
    if scans and len(scans) < len(files):
        raise UserError(f"{scans[0]} is a scan, and others are runs; pack them one by one")
    salt = redaction.new_salt() if redact else None
    with TemporaryDirectory(prefix="anisomem-") as temporary:
        folder = Path(temporary)
        if scans:
            _copy_scans(scans, folder, salt, allowed)
        else:
            _copy_runs(files, folder, salt, allowed)
        made = derived(folder, redact)
        for name, content in made.files.items():
            text = content.printed() if isinstance(content, Sheet) else content
            atomic.write_text(folder / name, text)
        manifest = archive.manifest_of(folder, said(made, redact))
        atomic.write(out, lambda file: archive.write(folder, manifest, file))
        if salt is not None:
            _keep_salt(salt_file, salt)
    lines = [f"{out}: {made.rows:,} prompts, {len(manifest.files):,} files"]
    if salt is not None:
        lines.append(f"{salt_file} has the salt; keep it, with it prompts can be looked up")
    return lines


def said(made: Derived, redacted: bool) -> dict[str, Any]:
    """What a manifest says beside its files."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "redacted": redacted,
        "packed_with": versions(),
        "runs": [dict(one) for one in made.runs],
    }


def versions() -> dict[str, str]:
    """The versions of this package, of Python and of what computes and prints numbers."""
    named = {name: version(name) for name in ("anisomem", *LIBRARIES)}
    return {"python": platform.python_version(), **named}


def _is_scan(folder: Path) -> bool:
    return "calibration" in ScoreStore.stored(folder / rows.COMPONENTS).content


def _copy_runs(
    files: Sequence[Path], folder: Path, salt: str | None, allowed: Collection[str]
) -> None:
    def require(case: Case) -> None:
        Results(case).require_finished()

    for case in stored_cases(files, allowed, (), require):
        results = Results(case)
        unknown = {*unknown_detectors(case.config.detector)}
        if salt is not None:
            unknown |= {one.name for one in results.configured if one.uses_texts}
        rows.of_run(results, folder, salt, unknown)


def _copy_scans(
    places: Sequence[Path], folder: Path, salt: str | None, allowed: Collection[str]
) -> None:
    for place in places:
        config = read(place / CONFIG, allowed)
        if named := of_ones_own(config.model, config.detector):
            raise UserError(
                f"{place} has a {named}; a packet of a scan is computed again by this package"
                " alone, scan without it"
            )
        scan = stored.scan(place, allowed)
        rows.of_scan(stored.finished(scan), folder, salt)


def _keep_salt(file: Path, salt: str) -> None:
    """Writes the salt where the user alone can read it."""

    def fill(temporary: Path) -> None:
        temporary.touch(mode=0o600)
        temporary.write_text(f"{salt}\n")

    atomic.write(file, fill)
