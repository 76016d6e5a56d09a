"""The configuration files that ``conf/`` holds, by group and name, without reading them.

Nothing here composes or parses one, so that a list or a help text needs none of the libraries that
do; :mod:`anisomem.config.members` and :mod:`anisomem.config.compose` do.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import anisomem

LISTS = ("detector", "mitigation", "measure")  # groups of which a run has several members
GROUPS = ("model", "dataset", *LISTS, "logger", "experiment")
#: The experiments of ``anisomem mitigate``, ``geometry``, ``scan``, ``demo`` where none is chosen.
MITIGATE, GEOMETRY, SCAN, DEMO = "mitigation_testbed", "geometry_testbed", "scan", "demo"
SCAN_RELATIVE = "scan_relative"  # where a second model is given


BUNDLED = Path(anisomem.__file__).parent / "testbed"  # the bundled models, a folder each
#: The bundled models by the recipe that they share, which has ordinary captions of its own.
VARIANTS = {"epsilon": "small", "velocity": "small", "large": "large", "flow": "large"}
#: What lies in :data:`BUNDLED` by name: the models, and a LoRA on the first of them.
PLACES = (*VARIANTS, "tuned")


def testbed(place: str) -> str:
    """The folder of a bundled model, which also holds its prompts; ``${testbed:PLACE}``."""
    return str(BUNDLED / place)


def shown(place: str) -> str:
    """A place as a text has it: where the package lies on one machine concerns nobody."""
    path = Path(place)
    inside = path.is_absolute() and path.is_relative_to(BUNDLED)
    return str(path.relative_to(BUNDLED.parent.parent)) if inside else place


def references(variant: str) -> Path:
    """The file of ordinary captions of a bundled model's kind, which none was trained with."""
    return BUNDLED / f"references_{VARIANTS[variant]}.txt"


@cache
def folder() -> Path:
    """The folder that holds the configuration files."""
    spec = find_spec("anisomem.conf")
    assert spec and spec.submodule_search_locations  # it is a part of this package
    return Path(spec.submodule_search_locations[0])


def names(group: str) -> list[str]:
    """The members of a configuration group."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


def title(file: Path) -> str:
    """What the first comment of a configuration file says it is."""
    comments = (
        line.removeprefix("# ")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("# ") and "@package" not in line
    )
    return next(comments, "")
