"""The configuration that a run has stored, which may come from somebody else.

On the command line a configuration is the user's own code. One that is read from a folder is data:
it may name the classes that this package is configured with, detectors of installed packages, and
what the command that reads it allows. It is checked before any of these is imported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from anisomem.config import catalog, compose, members, moved, own, registry, schema
from anisomem.config.schema import Config
from anisomem.detection.base import Detector
from anisomem.errors import UserError, unknown
from anisomem.storage import atomic

SINGLE = ("model", "dataset", "logger")
NAMED = ("detector", "mitigation", "measure")
LARGEST = 1_000_000  # bytes of a configuration
#: What a value may be interpolated from: other settings, and what this package's own files name.
INTERPOLATION = re.compile(
    rf"\$\{{(?:[A-Za-z_][\w.]*|testbed:(?:{'|'.join(catalog.PLACES)})|oc\.env:ANISOMEM_DATA,null)\}}"
)


def read(file: Path, allowed: Collection[str] = ()) -> Config:
    """A stored configuration, with the default of every setting that it does not know.

    Arguments:
        file: Where it lies.
        allowed: Dotted names of classes, or names of detectors, that the user trusts besides.

    Raises:
        UserError: It is damaged, or names code that is not allowed.
    """
    settings = plain(file)
    try:
        require_allowed(file, settings, allowed)
        return compose.completed(settings)
    except (ValueError, RecursionError):
        raise _damaged(file) from None


def plain(file: Path) -> dict[str, Any]:
    """A stored configuration as it is written, classes of this package where they stand now.

    Nothing in it is resolved, and whatever it names is still to be checked.

    Raises:
        UserError: It is not there or damaged.
    """
    try:
        text = atomic.read_bytes(file).decode()
        # An alias begins with an asterisk; to parse for one takes as long as to read it all.
        if len(text) > LARGEST or ("*" in text and _has_aliases(text)):
            raise ValueError
        settings: dict[str, Any] = _where_now(schema.parsed(text))
        return settings
    except FileNotFoundError:
        raise UserError(
            f"{file} is missing; run the same command again to write it anew"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _damaged(file) from None


def _damaged(file: Path) -> UserError:
    return UserError(f"{file} is damaged; run the same command again to write it anew")


def _has_aliases(text: str) -> bool:
    return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))


def _where_now(node: Any) -> Any:
    """The same with classes of this package where they stand now."""
    if isinstance(node, list):
        return [_where_now(value) for value in node]
    if not isinstance(node, dict):
        return node
    moved_node = {key: _where_now(value) for key, value in node.items()}
    if "_target_" in moved_node:
        moved_node["_target_"] = moved.place_now(str(moved_node["_target_"]))
    return moved_node


def require_allowed(file: Path, plain: dict[str, Any], allowed: Collection[str]) -> None:
    """Checks everything in a stored configuration that could run.

    Raises:
        UserError: The name is not allowed; with the name, and how to allow it.
        ValueError: It has another layout than a run writes.
    """
    for text in texts(plain):
        if "${" in INTERPOLATION.sub("", text):
            raise UserError(f"{file} holds {text!r}, which is not evaluated in a stored run")
    trusted = {*allowed, *(_target_of(name, plain) for name in allowed)}
    if not plain.get("model") or not plain.get("dataset"):
        raise ValueError
    for group in SINGLE:
        if node := plain.get(group):
            _check(file, group, node, trusted)
    for group in NAMED:
        for node in _mapping(plain.get(group) or {}).values():
            _check(file, group, node, trusted)
            members = _mapping(node).get("members") or []
            for name in members:
                if name not in plain[group] and not _offered(name) and name not in trusted:
                    raise _refused(file, group, name)
    rest = {key: value for key, value in plain.items() if key not in (*SINGLE, *NAMED)}
    for target in own.targets(rest):
        raise _nested(file, target)


def _check(file: Path, group: str, node: Any, trusted: Collection[str]) -> None:
    if "_target_" not in _mapping(node):
        raise ValueError
    target, *nested = own.targets(node)
    if target not in trusted and not _known(group, target):
        raise _refused(file, group, target)
    for name in nested:
        raise _nested(file, name)
    for key in keys(node):
        if key.startswith("_") and key != "_target_":
            raise UserError(f"{file} holds {key!r}, which no run writes; it is not evaluated")


def _refused(file: Path, group: str, name: str) -> UserError:
    return UserError(
        f"{file} names {name!r} as {group}, which is neither this package's nor installed, and is "
        f"not run; where you trust it, add --allow {name}"
    )


def _nested(file: Path, name: str) -> UserError:
    return UserError(f"{file} names {name!r} where a run names no class; it is not run")


def _known(group: str, target: str) -> bool:
    """Whether a class or function is what this package, or one that is installed, offers."""
    nodes = members.members(group)
    if target in {t for node in nodes.values() for t in own.targets(node)}:
        return True
    if group != "detector":
        return False
    if not own.is_own(target):
        try:
            module, _, name = target.rpartition(".")
            kind = getattr(import_module(module), name)  # Hydra would log what it does not find
        except Exception:  # whatever the name is, it is not one of ours
            return False
        return isinstance(kind, type) and issubclass(kind, Detector)
    return any(one.offers(target) for one in registry.installed())


def _offered(name: object) -> bool:
    """Whether a detector of this name is built in or of an installed package."""
    return name in catalog.names("detector") or any(
        one.name == name for one in registry.installed()
    )


def _target_of(name: str, plain: dict[str, Any]) -> str:
    """The class that a name stands for: its own where it is dotted, else that of a detector.

    Raises:
        UserError: It is neither; with what there is to allow.
    """
    if "." in name:
        return name
    every = registry.known()
    if name not in {one.name for one in every}:
        own_names = {one.name for one in registry.not_built_in()}
        classes = set(filter(own.is_own, own.targets(plain)))
        raise unknown("detector or class to allow", name, own_names | classes)
    return str(registry.find(name, every).node()[name].get("_target_"))


def _mapping(node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise ValueError
    return node


def texts(node: object) -> Iterator[str]:
    """Every string in a plain configuration, keys too."""
    if isinstance(node, dict):
        node = [*node, *node.values()]
    if isinstance(node, list):
        for value in node:
            yield from texts(value)
    if isinstance(node, str):
        yield node


def keys(node: object) -> Iterator[str]:
    """Every name in a plain configuration."""
    if isinstance(node, dict):
        yield from map(str, node)
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from keys(value)
