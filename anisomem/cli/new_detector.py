"""``anisomem new-detector``: a working detector to change, with its configuration and test.

The files come from ``conformance/templates``; checking them is ``anisomem check-detector``.
"""

import keyword
import os
import shlex
from collections.abc import Mapping
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

import anisomem
from anisomem.cli.command import FOLDER, Command
from anisomem.errors import UserError

TEMPLATES = Path(anisomem.__file__).parent / "conformance" / "templates"


@click.command(
    "new-detector",
    cls=Command,
    short_help="Start a detector of your own.",
    examples=["anisomem new-detector mine", "anisomem new-detector mine --out detectors"],
)
@click.argument("name", metavar="NAME", help="E.g. mine; see docs/add-a-detector.md.")
@click.option(
    "--out", type=FOLDER, default=".", show_default=True, metavar="FOLDER", help="Where."
)
def command(name: str, out: Path) -> None:
    """Start a detector of your own: a working class, its configuration and its test."""
    for line in write(name, out):
        print(line)


def write(name: str, folder: Path) -> list[str]:
    """Writes the files of a new detector; what was written, and the commands to go on with.

    Arguments:
        name: The name of the detector and its module.
        folder: The folder that the files are written to.

    Raises:
        UserError: A name that is none for a module or is taken, or a file that exists.
    """
    from anisomem.config import registry
    from anisomem.storage import atomic

    if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(
            f"a detector's name is letters, digits and underscores, as score_change; got {name!r}"
        )
    made = "".join(part[0].upper() + part[1:] for part in name.split("_") if part)
    if not made or not made[0].isalpha():
        raise UserError(f"a detector's name needs a letter first, got {name!r}")
    targets: Mapping[str, Path] = {
        "detector.py.tmpl": folder / f"{name}.py",
        "config.yaml.tmpl": folder / registry.HERE / f"{name}.yaml",
        "test.py.tmpl": folder / f"test_{name}.py",
    }
    for file in targets.values():
        if file.exists():
            raise UserError(f"{file} exists and is not overwritten; choose another name or --out")
    if taken := [one for one in registry.known() if one.name == name]:
        raise UserError(f"a detector {name!r} is known already ({taken[0].where})")
    if find_spec(name):
        raise UserError(f"a module {name!r} is installed already, which would be imported instead")
    chosen = {"name": name, "made": made, "year": str(date.today().year)}
    for template, file in targets.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        atomic.write_text(file, Template(text).substitute(chosen))
    there = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(os.fspath(folder))}"]
    return [
        *(f"wrote {file}" for file in targets.values()),
        "",
        *there,
        f"anisomem check-detector {name}",
        "pytest",
        f"anisomem run 'detector=[{name},wen,anisotropy]'",
    ]
