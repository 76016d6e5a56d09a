"""Code that is not this package's: where it is looked up, and what its source was.

A detector of the user's may lie in the current folder. That folder is importable only while
something of the user's is looked up, and behind everything installed, so that no file in it stands
in for a module that a library asks for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.utils import get_object

from anisomem.errors import UserError

PACKAGE = "anisomem"
INSTALLED = {"site-packages", "dist-packages"}


def is_own(name: str) -> bool:
    """Whether a dotted name is outside this package."""
    return name.partition(".")[0] != PACKAGE


def targets(node: object) -> Iterator[str]:
    """Every ``_target_`` in a plain configuration."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets(value)


@contextmanager
def importable(names: Iterable[str]) -> Iterator[None]:
    """The current folder can be imported from meanwhile, if one of the names is not ours.

    Nothing is compiled into a cache, which an edit within the same second would not outdate.

    Arguments:
        names: Dotted, of what is looked up.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # somebody has removed it
        here = ""
    if not any(map(is_own, names)) or not here or {"", here} & set(sys.path):
        yield
        return
    import torch  # noqa: F401  # what they import has its own modules before the folder has a say

    cached = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.append(here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)
        sys.dont_write_bytecode = cached


def sources(things: Iterable[object], names: Iterable[str] = ()) -> dict[str, str]:
    """Dotted name to a digest of the source, of every class of the user's; ours have versions.

    The source is the file of the class's module, those of the classes that it inherits from, and
    what these import from beside them.

    Arguments:
        things: Objects; those that they hold are looked at, too.
        names: Dotted names of classes or functions.

    Raises:
        UserError: One has no file to read, so that an edit would go unseen.
    """
    made = {made for thing in things for made in _classes(thing)}
    owners = {f"{one.__module__}.{one.__qualname__}": one.__mro__ for one in made}
    for name in filter(is_own, names):
        with importable([name]):
            one = get_object(name)
        owner = getattr(one, "__self__", one)  # a class's own constructor
        owners[name] = owner.__mro__ if isinstance(owner, type) else (owner,)
    return {name: _digest(name, parts) for name, parts in sorted(owners.items()) if is_own(name)}


def _classes(thing: object) -> Iterator[type]:
    yield type(thing)
    for value in vars(thing).values() if hasattr(thing, "__dict__") else ():
        for one in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(one, type) and hasattr(one, "__dict__"):
                yield from _classes(one)


def _digest(name: str, parts: Iterable[Any]) -> str:
    modules = {
        part.__module__: sys.modules.get(part.__module__)
        for part in parts
        if is_own(part.__module__)
        and part.__module__.partition(".")[0] not in sys.stdlib_module_names
    }
    waiting = [module for module in modules.values() if module is not None]
    while waiting:
        for other in _modules_beside(waiting.pop()):
            if other.__name__ not in modules:
                modules[other.__name__] = other
                waiting.append(other)
    total = sha256()
    for key, module in sorted(modules.items()):
        file = getattr(module, "__file__", None)
        try:
            content = Path(file).read_bytes()  # type: ignore[arg-type]
        except (OSError, TypeError):  # the latter where it has none
            raise UserError(
                f"the source of {name} ({key}) cannot be read, so an edit of it would go unseen; "
                "keep it in a file"
            ) from None
        total.update(f"{key} {sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _modules_beside(module: ModuleType) -> Iterator[ModuleType]:
    """Modules that a module refers to, of its own package or folder."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = getattr(top, "__file__", None)
    if file is None or (not hasattr(top, "__path__") and INSTALLED & {*Path(file).parts}):
        return
    folder = Path(file).resolve().parent
    for value in list(vars(module).values()):
        named = value if isinstance(value, ModuleType) else None
        other = named or sys.modules.get(str(getattr(value, "__module__", "")))
        place = getattr(other, "__file__", None)
        if other is None or place is None or not is_own(other.__name__):
            continue
        relative = Path(place).resolve()
        if relative.is_relative_to(folder) and not INSTALLED & {
            *relative.relative_to(folder).parts
        }:
            yield other
