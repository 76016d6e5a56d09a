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


@dataclass(frozen=True)
class Default:
    """A setting that an override names.

    Attributes:
        default: The default as the file writes it.
        note: What the comment behind it says; "" for none.
    """

    default: str
    note: str


@cache
def defaults() -> dict[str, Default]:
    """Every setting of the file by its dotted name, in the file's order."""
    settings: dict[str, Default] = {}
    parent = ""
    for line in (catalog.folder() / "config.yaml").read_text(encoding="utf-8").splitlines():
        if not (read := LINE.fullmatch(line)):
            continue
        name, value, note = read["name"], read["value"] or "", read["note"] or ""
        if not read["indent"]:
            parent = "" if value else name
        if parent == "hydra" or (not value and parent):
            continue
        inside = f"{parent}." if read["indent"] and parent != "defaults" else ""
        settings[f"{inside}{name}"] = Default(value, note)
    return settings
