"""What the shipped configuration files say, read one by one.

Names alone are in ``catalog``; a whole configuration is composed in ``compose``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from anisomem.config import moved
from anisomem.config.catalog import folder, names, testbed

# Hydra hands a job of a multirun the resolvers before the job imports this.
OmegaConf.register_new_resolver("testbed", testbed, replace=True)


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


def listed(model: Mapping[str, Any]) -> str:
    """The name in ``conf/model`` of what a model's path names; "" for others.

    Arguments:
        model: Its settings, not resolved: where the bundled models lie differs by machine.
    """
    path, put = str(model.get("path") or ""), model.get("adapters") or []
    named = [
        name
        for name, one in members("model").items()
        if one.get("path") == path and (one.get("adapters") or []) == put
    ]
    return named[-1] if named and path != "???" else ""


def model_name(model: Mapping[str, Any]) -> str:
    """What tables call a model: its name in ``conf/model``, else its repository's or folder's.

    A name of ``conf/model`` is followed by the class or function that makes the model, where
    another one does than is said there; and any by the adapters that are put on it.

    Arguments:
        model: Its settings, the path not resolved, see :func:`listed`.
    """
    path, put = str(model.get("path") or ""), model.get("adapters") or []
    if put and not listed(model) and isinstance(put, list):
        names = [Path(str(entry)).name.replace(".safetensors", "") for entry in put]
        return " + ".join([model_name({**model, "adapters": []}), *names])
    if name := listed(model):
        usual = members("model")[name]["_target_"]
        target = moved.place_now(str(model.get("_target_", usual)))
        return name if target == usual else f"{name} ({target})"
    if cached := re.search(r"models--(.+?)--(.+?)(/|$)", path):  # in the hub's cache, by commit
        return f"{cached[1]}/{cached[2]}"
    if not path:
        return str(model.get("stands_for") or "unknown")
    return Path(path).name if Path(path).is_absolute() or Path(path).is_dir() else path
