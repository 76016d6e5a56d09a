"""Detectors that a run can name: built in, in ``conf/detector`` here, and of installed packages.

A package offers a detector by an entry point, whose configuration is the defaults of its class::

    [project.entry-points."anisomem.detectors"]
    mine = "mypackage.mine:Mine"

Nothing of a package is imported before its detector is named or listed, so one that cannot be
imported is its own problem; and a list of the built-in ones reads their first lines alone.

``relative_NAME`` is a detector for every NAME: its score less the same of a second model.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from anisomem.config import catalog
from anisomem.errors import UserError, unknown

ENTRY_POINTS = "anisomem.detectors"
HERE = Path("conf/detector")
RELATIVE = "relative_"  # before a detector's name: what is made of it


@dataclass(frozen=True)
class Known(ABC):
    """A detector by the name under which a run chooses it."""

    name: str

    @property
    @abstractmethod
    def where(self) -> str:
        """The place it comes from, in words."""

    @abstractmethod
    def title(self) -> str:
        """What it is, in a line.

        Raises:
            UserError: It cannot be read or imported.
        """

    @abstractmethod
    def node(self) -> dict[str, Any]:
        """Its configuration, under its name.

        Raises:
            UserError: It cannot be read or imported.
        """


@dataclass(frozen=True)
class InFile(Known):
    """A detector that a file of a configuration group describes.

    Arguments:
        file: The file that configures it.
    """

    file: Path

    @property
    def where(self) -> str:
        return str(self.file)

    def title(self) -> str:
        if self.file.parent == HERE:
            self.node()  # what cannot be chosen is no detector to list
        return catalog.title(self.file)

    def node(self) -> dict[str, Any]:
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        try:
            node = OmegaConf.load(self.file)
        except OSError as error:
            raise UserError(f"{self.where} cannot be read: {error.strerror}") from None
        except (OmegaConfBaseException, YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{self.where} is no YAML: {reason}") from None
        if "${" in OmegaConf.to_yaml(node):
            raise UserError(f"{self.where} looks up ${{...}}; write the values themselves")
        held = dict(node) if isinstance(node, DictConfig) else {}
        if list(held) != [self.name] or not isinstance(held[self.name], DictConfig):
            raise UserError(f"{self.where} must hold one entry, {self.name}, with its settings")
        return cast(dict[str, Any], OmegaConf.to_container(node))


@dataclass(frozen=True)
class Offered(Known):
    """A detector that an installed package offers.

    Arguments:
        entry: Its entry point.
    """

    entry: EntryPoint

    @property
    def where(self) -> str:
        return f"package {self.entry.dist.name if self.entry.dist else self.entry.value}"

    def load(self) -> type:
        """The class.

        Raises:
            UserError: It cannot be imported, or is none of a detector.
        """
        try:
            loaded = self.entry.load()
        except Exception as error:  # whatever a module does while it is imported
            raise UserError(
                f"detector {self.name!r} of {self.where} cannot be imported: "
                f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            ) from None
        if not (isinstance(loaded, type) and is_dataclass(loaded)):
            raise UserError(
                f"detector {self.name!r} of {self.where}: {self.entry.value} is no Detector class"
            )
        return loaded

    def offers(self, target: str) -> bool:
        """Whether its class has a dotted name; it is imported only where it could."""
        if self.entry.value.replace(":", ".") == target:
            return True
        if self.entry.module.partition(".")[0] != target.partition(".")[0]:
            return False
        try:
            made = self.load()
        except UserError:
            return False
        return f"{made.__module__}.{made.__qualname__}" == target

    def title(self) -> str:
        return (inspect.getdoc(self.load()) or "").partition("\n")[0]

    def node(self) -> dict[str, Any]:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        made = self.load()
        defaults: dict[str, Any] = {}
        for one in fields(made):
            if one.default_factory is not MISSING:
                defaults[one.name] = one.default_factory()
            elif one.name != "name":
                defaults[one.name] = "???" if one.default is MISSING else one.default
        if n := defaults.pop("n"):
            defaults = {"n": [n], **defaults}
        target = f"{made.__module__}.{made.__qualname__}"
        try:
            node = OmegaConf.create({self.name: {"_target_": target, **defaults}})
            return cast(dict[str, Any], OmegaConf.to_container(node))
        except OmegaConfBaseException as error:
            raise UserError(
                f"detector {self.name!r} of {self.where} has a default that YAML cannot hold: "
                f"{str(error).splitlines()[0]}"
            ) from None


@dataclass(frozen=True)
class Relative(Known):
    """A detector's score less the same of a second model, where no file describes that.

    Arguments:
        of: The detector.
    """

    of: Known

    @property
    def where(self) -> str:
        return self.of.where

    def title(self) -> str:
        return f"{self.of.title()} Less that of a second model."

    def node(self) -> dict[str, Any]:
        settings = dict(self.of.node()[self.of.name])
        samples = {"n": settings.pop("n")} if "n" in settings else {}
        target = "anisomem.baselines.relative.Relative"
        return {self.name: {"_target_": target, **samples, "of": settings}}


def not_built_in() -> list[Known]:
    """All that are not built in; a copy of a built-in file is none of its own."""
    shipped = catalog.folder() / "detector"
    own = [file for file in sorted(HERE.glob("*.yaml")) if not _is_copy(file, shipped / file.name)]
    return [*(InFile(file.stem, file) for file in own), *installed()]


def installed() -> list[Offered]:
    """All that installed packages offer."""
    offered = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return [Offered(entry.name, entry) for entry in offered]


def _is_copy(file: Path, shipped: Path) -> bool:
    """Whether a file is a copy of a built-in one; one that cannot be read is none."""
    try:
        return shipped.exists() and shipped.read_bytes() == file.read_bytes()
    except OSError:
        return False


def known() -> list[Known]:
    """Every detector that can be named, built-in ones first."""
    folder = catalog.folder() / "detector"
    shipped = (InFile(name, folder / f"{name}.yaml") for name in catalog.names("detector"))
    return [*shipped, *not_built_in()]


def find(name: str, every: Sequence[Known] | None = None) -> Known:
    """The detector of a name.

    Arguments:
        name: The name as the run gives it.
        every: The detectors that can be named, where :func:`known` has been asked already.

    Raises:
        UserError: There is none, or there are several.
    """
    every = known() if every is None else every
    offered = [one for one in every if one.name == name]
    if not offered and name.startswith(RELATIVE):
        inner = name.removeprefix(RELATIVE)
        offered = [Relative(name, one) for one in every if one.name == inner]
    if not offered:
        raise unknown("detector", name, {one.name for one in every})
    if len(offered) > 1:
        places = " and ".join(one.where for one in offered)
        raise UserError(f"several detectors are named {name!r}: {places}; rename yours")
    return offered[0]


def offer(*names: str) -> None:
    """Lets Hydra find detectors that are not built in.

    Raises:
        UserError: What :func:`find` refuses, or one cannot be read or imported.
    """
    from hydra.core.config_store import ConfigStore

    every, shipped = known(), catalog.names("detector")
    for name in names:
        one = find(name, every)
        if name not in shipped:
            ConfigStore.instance().store(group="detector", name=name, node=one.node())
