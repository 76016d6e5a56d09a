"""The configuration files that are shipped, by group and name."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

import anisomem

BUNDLED = Path(anisomem.__file__).parent / "testbed"  # the bundled models, a folder each


def testbed(variant: str) -> str:
    """The folder of a bundled model, which also holds its prompts; ``${testbed:VARIANT}``."""
    return str(BUNDLED / variant)


OmegaConf.register_new_resolver("testbed", testbed)


def folder() -> Path:
    """The configuration files."""
    return Path(str(importlib.resources.files("anisomem.conf")))


def names(group: str) -> list[str]:
    """The members of a configuration group."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


@cache
def members(group: str) -> dict[str, dict[str, Any]]:
    """The files of a group by name; nothing in them is resolved."""
    return {
        name: cast(
            dict[str, Any],
            OmegaConf.to_container(OmegaConf.load(folder() / group / f"{name}.yaml")),
        )
        for name in names(group)
    }


def node(group: str, name: str) -> dict[str, Any]:
    """The settings that a member of a group has by default."""
    file = OmegaConf.load(folder() / group / f"{name}.yaml")
    return cast(dict[str, Any], OmegaConf.to_container(file, resolve=True))[name]


@cache
def constants(name: str) -> dict[str, Any]:
    """A file of published numbers beside the groups."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(folder() / f"{name}.yaml")))


def title(file: Path) -> str:
    """What the first comment of a configuration file says it is."""
    comments = (
        line.removeprefix("# ")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("# ") and "@package" not in line
    )
    return next(comments, "")


def model_name(model: Mapping[str, Any]) -> str:
    """What tables call a model: its name in ``conf/model``, else its repository's or folder's.

    Arguments:
        model: Its settings, not resolved: where the bundled models lie differs by machine.
    """
    path = str(model.get("path") or "")
    paths = {str(one["path"]): name for name, one in members("model").items() if "path" in one}
    if known := paths.get(path, "") * (path != "???"):
        return known
    if cached := re.search(r"models--(.+?)--(.+?)(/|$)", path):  # in the hub's cache, by commit
        return f"{cached[1]}/{cached[2]}"
    if not path:
        return str(model.get("stands_for") or "unknown")
    return Path(path).name if Path(path).is_absolute() or Path(path).is_dir() else path
