"""A report that stands: what it was made of, and what the command has printed of it.

Where nothing has changed of what a report was made of, and its files are as they were written, it
is not made twice: the command prints what it has printed, and needs none of the libraries that
score and draw.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from anisomem.benchmark.case import Case
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.storage import atomic, digests
from anisomem.storage.manifest import Manifest

KIND = "report"  # of the manifest in the folder
FILE = ".standing-report.json"  # beside it
LARGEST = 1 << 24  # bytes of it that are read
PARTS = ("anisomem", "anisomem.baselines", "anisomem.conf", "anisomem.published")
SOURCES = (".py", ".yaml", ".j2", ".css", ".js")
LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "matplotlib",
    "pillow",
    "jinja2",
)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # what no table holds


@dataclass(frozen=True)
class Printed:
    """What a command has printed of a report.

    Attributes:
        table: Its tables.
        warnings: What a reader must know before the numbers.
    """

    table: str
    warnings: Sequence[str]


def keep(printed: Printed, cases: Sequence[Case], folder: Path, of: str | None) -> None:
    """Remembers beside a report, which has just been written, what it was made of.

    Nothing is remembered where that has changed meanwhile: code that is edited while a run
    records is not what the run has loaded.

    Arguments:
        printed: What is printed of it.
        cases: Its cases.
        folder: Where it lies.
        of: What :func:`made_of` said before it was made, with the code as the command began.

    Raises:
        CannotWriteError: The file system refuses.
    """
    if of is None or made_of(cases, code()) != of:
        return
    written = Manifest(folder, KIND).standing()
    content = {"of": of, "written": written, **asdict(printed)}
    atomic.write_text(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def printed(cases: Sequence[Case], folder: Path) -> Printed | None:
    """What was printed of the report in a folder, where it stands for these cases."""
    kept = _kept(folder / FILE)
    if kept is None or (of := made_of(cases, code())) is None or kept["of"] != of:
        return None
    written = Manifest(folder, KIND).standing()
    if written is None or kept.get("written") != written:  # another report has been put there
        return None
    table, warnings = kept.get("table"), kept.get("warnings")
    if not isinstance(table, str) or not isinstance(warnings, list):
        return None
    if not all(isinstance(text, str) and not CONTROL.search(text) for text in (table, *warnings)):
        return None  # a stranger's
    return Printed(table, warnings)


def _kept(file: Path) -> dict[str, Any] | None:
    """What is remembered; None where nothing is, or it is damaged."""
    try:
        if file.is_symlink() or file.stat().st_size > LARGEST:
            return None
        kept = atomic.read_json(file)
    except (OSError, UserError):
        return None
    return kept if "of" in kept else None


def made_of(cases: Sequence[Case], code: str) -> str | None:
    """A digest of everything that a report of the cases depends on.

    Arguments:
        cases: The cases.
        code: What :func:`code` said.

    Returns:
        None where that is not known. Code of the user's may take numbers from anywhere, so its
        scores are computed each time; of a file that cannot be read the run says which.
    """
    if any(case.content.get("sources") for case in cases):
        return None
    try:
        described = [_of_case(case) for case in cases]
    except (UserError, OSError):
        return None
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return digests.digest({"code": code, "versions": versions, "cases": described})


def code() -> str:
    """Sizes and times of this package's own files: whether they changed, without reading."""
    stats = {}
    for part in PARTS:
        spec = find_spec(part)
        for place in (spec and spec.submodule_search_locations) or ():
            for file in _sources(Path(place)):
                stat = file.stat()
                stats[str(file)] = [stat.st_size, stat.st_mtime_ns]
    return digests.digest(stats)


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(place, name) for name in sorted(names) if name.endswith(SOURCES))


def _of_case(case: Case) -> Mapping[str, Any]:
    """What a report says of a case: its settings, its prompts and the files of its folder."""
    files = [*case.folder.iterdir(), *(case.folder / "components").iterdir()]
    stored = {
        file.relative_to(case.folder).as_posix(): digests.sha256_of_file(file)
        for file in sorted(files)
        if not file.name.startswith(".") and not file.is_dir()
    }
    tensors = case.folder / "tensors"
    return {
        "name": case.name,
        "model": case.model,
        "identity": case.content,
        "settings": case.config.text,
        "prompts": _of_prompts(case.prompts),
        "files": stored,
        "tensors": sorted(os.listdir(tensors)) if tensors.is_dir() else [],
    }


def _of_prompts(prompts: PromptSet) -> str:
    """A digest of all that is known of some prompts, not only of ids and texts."""
    total = sha256()
    for field in fields(prompts):
        value = getattr(prompts, field.name)
        column = value.tolist() if isinstance(value, np.ndarray) else value
        total.update(f"{field.name} {json.dumps(column, default=_digest)}\n".encode())
    return total.hexdigest()


def _digest(content: Any) -> Any:
    """What stands for a value that JSON has not: a picture, or a sequence."""
    if isinstance(content, bytes):
        return sha256(content).hexdigest()
    return list(content)
