"""Detectors that a run can name: built in, in ``conf/detector`` here, and of installed packages.

A package offers a detector by an entry point, whose configuration is the defaults of its class::

    [project.entry-points."anisomem.detectors"]
    mine = "mypackage.mine:Mine"

Nothing of a package is imported before its detector is named or listed, so one that cannot be
imported is its own problem.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from anisomem import config
from anisomem.detection.base import Detector
from anisomem.errors import UserError, unknown

if TYPE_CHECKING:
    from anisomem.report.table import Table

ENTRY_POINTS = "anisomem.detectors"
HERE = Path("conf/detector")


@dataclass(frozen=True)
class Known(ABC):
    """A detector by the name under which a run chooses it."""

    name: str

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it comes from, in words."""

    @abstractmethod
    def title(self) -> str:
        """What it is, in a line.

        Raises:
            UserError: It cannot be read or imported.
        """

    @abstractmethod
    def node(self) -> DictConfig:
        """Its configuration, under its name.

        Raises:
            UserError: It cannot be read or imported.
        """


@dataclass(frozen=True)
class InFile(Known):
    """A detector that a file of a configuration group describes.

    Arguments:
        file: The file.
    """

    file: Path

    @property
    def where(self) -> str:
        return str(self.file)

    def title(self) -> str:
        if self.file.parent == HERE:
            self.node()  # what cannot be chosen is no detector to list
        return config.title(self.file)

    def node(self) -> DictConfig:
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
        return DictConfig(node)


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

    def load(self) -> type[Detector]:
        """The class.

        Raises:
            UserError: It cannot be imported, or is none of a detector.
        """
        try:
            found = self.entry.load()
        except Exception as error:  # whatever a module does while it is imported
            raise UserError(
                f"detector {self.name!r} of {self.where} cannot be imported: "
                f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            ) from None
        if not (isinstance(found, type) and issubclass(found, Detector)):
            raise UserError(
                f"detector {self.name!r} of {self.where}: {self.entry.value} is no Detector class"
            )
        return found

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

    def node(self) -> DictConfig:
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
            return OmegaConf.create({self.name: {"_target_": target, **defaults}})
        except OmegaConfBaseException as error:
            raise UserError(
                f"detector {self.name!r} of {self.where} has a default that YAML cannot hold: "
                f"{str(error).splitlines()[0]}"
            ) from None


def others() -> list[Known]:
    """All that are not built in; a copy of a built-in file is none of its own."""
    shipped = config.folder() / "detector"
    own = [file for file in sorted(HERE.glob("*.yaml")) if not _same(file, shipped / file.name)]
    return [*(InFile(file.stem, file) for file in own), *installed()]


def installed() -> list[Offered]:
    """All that installed packages offer."""
    offered = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return [Offered(entry.name, entry) for entry in offered]


def _same(file: Path, shipped: Path) -> bool:
    """Whether a file is a copy of a built-in one; one that cannot be read is none."""
    try:
        return shipped.exists() and shipped.read_bytes() == file.read_bytes()
    except OSError:
        return False


def known() -> list[Known]:
    """Every detector that can be named, built-in ones first."""
    folder = config.folder() / "detector"
    shipped = (InFile(name, folder / f"{name}.yaml") for name in config.names("detector"))
    return [*shipped, *others()]


def find(name: str, every: Sequence[Known] | None = None) -> Known:
    """The detector of a name.

    Arguments:
        name: The name.
        every: Those that can be named, where :func:`known` has been asked already.

    Raises:
        UserError: There is none, or there are several.
    """
    every = known() if every is None else every
    found = [one for one in every if one.name == name]
    if not found:
        raise unknown("detector", name, {one.name for one in every})
    if len(found) > 1:
        places = " and ".join(one.where for one in found)
        raise UserError(f"several detectors are named {name!r}: {places}; rename yours")
    return found[0]


def offer(*names: str) -> None:
    """Lets Hydra find detectors that are not built in.

    Raises:
        UserError: As :func:`find`, or one cannot be read or imported.
    """
    every, shipped = known(), config.names("detector")
    for name in names:
        one = find(name, every)
        if name not in shipped:
            ConfigStore.instance().store(group="detector", name=name, node=one.node())


def at(target: str, settings: Sequence[str]) -> Detector:
    """A detector by name or dotted path of its class, at the fewest n that it is configured with.

    Arguments:
        target: ``wen``, or ``mine.Mine``.
        settings: Of the detector, ``steps=5``.

    Raises:
        UserError: As :func:`offer`, or it cannot be built.
    """
    path, _, made = target.rpartition(".")
    name = made.lower() if path else target
    chosen = [f"+detector.{name}._target_={target}"] if path else []
    composed = config.cases(
        [
            f"detector=[{'' if path else name}]",
            *chosen,
            *(f"++detector.{name}.{setting}" for setting in settings),
        ]
    )
    return min(config.detectors(composed[0]), key=lambda detector: detector.n)


def listed() -> list[tuple[str, str]]:
    """Every detector that can be named, and what it is or what is wrong with it, in a line."""
    every = known()
    counts = Counter(one.name for one in every)
    lines = []
    for one in every:
        try:
            text = one.title()
        except UserError as error:
            text = f"broken: {error}"
        if counts[one.name] > 1:
            text = f"{one.where}: several detectors have this name"
        lines.append((one.name, text))
    return lines


def described() -> Table:
    """Where every detector comes from, what it reads and what that costs."""
    from anisomem.report.table import Table

    broken, lines = {}, []
    names = dict.fromkeys(one.name for one in known())
    for name in names:
        try:
            offer(name)
        except UserError as error:
            broken[name] = str(error)
    chosen = [name for name in names if name not in broken]
    nodes = config.cases([f"detector=[{','.join(chosen)}]"])[0].detector
    for name in chosen:
        try:
            detector = config.detectors(OmegaConf.create({"detector": {name: nodes[name]}}))[0]
        except Exception as error:  # whatever a class does while it is made
            broken[name] = f"{name}: {' '.join(str(error).split()) or type(error).__name__}"
            continue
        info = detector.info
        if info is None:
            lines.append([name, find(name).title(), *["–"] * 11])
            continue
        paper, cost = info.paper, detector.cost()
        cells = [paper.authors, paper.venue, str(paper.year), paper.arxiv, paper.code]
        cells += [paper.licence, info.reads, str(detector.n), str(cost.nfe), str(cost.jvps)]
        lines.append([name, paper.title, *(cell or "–" for cell in cells), info.orientation])
    headings = ["detector", "title", "authors", "venue", "year", "arXiv", "code", "licence"]
    headings += ["reads", "n", "NFE", "JVPs", "orientation"]
    notes = [
        "NFE and JVPs (directional derivatives) are of one prompt on its own with n noise samples;"
        " what prompts or detectors share is evaluated once.",
        "Licence: of the released code; – where none is given.",
    ]
    return Table("Detectors", headings, lines, [*notes, *broken.values()])
