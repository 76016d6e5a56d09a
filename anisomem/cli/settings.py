"""The defaults of settings as ``conf/config.yaml`` has them, for help texts and completion.

Its lines are read as text: composing takes a second, and says nothing of the comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from anisomem.config import catalog

LINE = re.compile(
    r"(?P<indent> *)(?:- )?(?P<name>\w+):(?: (?P<value>[^#]*?))?(?: +# (?P<note>.*))?"
)
ALONE = re.compile(r" *# (?P<note>.*)")
LOOKED_UP = re.compile(r"\$\{(?:oc\.env:(?P<variable>\w+)[^}]*|(?P<setting>[^}]*))\}")


@dataclass(frozen=True)
class Default:
    """A setting that an override names.

    Attributes:
        default: The default as the file writes it, what it looks up as a shell writes it.
        note: What the comment behind it says; "" for none.
        above: What the comments on lines of their own above it say; of the first of several
            settings below one name, also what stands above and behind that name; "" for none.
    """

    default: str
    note: str
    above: str = ""


@cache
def defaults() -> dict[str, Default]:
    """Every setting of the file by its dotted name, in the file's order."""
    settings: dict[str, Default] = {}
    parent, above = "", list[str]()
    for line in (catalog.folder() / "config.yaml").read_text(encoding="utf-8").splitlines():
        if alone := ALONE.fullmatch(line):
            above.append(alone["note"])
        if not (read := LINE.fullmatch(line)):
            continue
        name, value, note = read["name"], read["value"] or "", read["note"] or ""
        if not read["indent"]:
            parent = "" if value else name
        if parent == "hydra" or (not value and parent):
            above += [note] * bool(note)
            continue
        inside = f"{parent}." if read["indent"] and parent != "defaults" else ""
        default = LOOKED_UP.sub(_as_a_shell_does, value)
        settings[f"{inside}{name}"] = Default(default, note, " ".join(above))
        above = []
    return settings


def _as_a_shell_does(lookup: re.Match[str]) -> str:
    """An environment variable by its name, and another setting's value by that one's."""
    return f"${lookup['variable']}" if lookup["variable"] else str(lookup["setting"]).upper()
