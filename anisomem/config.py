"""From command-line overrides to one checked configuration per case."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from anisomem import catalog, own, values
from anisomem.catalog import GROUPS, LISTS
from anisomem.detection.base import Detector
from anisomem.errors import UserError, concerning, unknown
from anisomem.overrides import Override, read

if TYPE_CHECKING:  # a mitigation imports torch
    from anisomem.measures.base import Measure
    from anisomem.mitigation.base import Mitigation

log = logging.getLogger(__name__)

SAMPLES = 10_000  # of a detector's n; the noise of all is held at once


@dataclass
class Paths:
    """Folders of this machine."""

    data: str | None = None


@dataclass
class References:
    """Ordinary prompts outside the set."""

    prompts: str | None = None
    count: int = 50
    seed: int = 0


@dataclass
class Trial:
    """Of ``anisomem mitigate``."""

    memorized: int | None = None
    others: int | None = None
    seed: int = 0
    steps: int = 50
    guidance: float = 7.5
    sheet: int = 8


@dataclass
class Schema:
    """Every setting with its type; a name that is not here is refused."""

    model: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    detector: dict[str, dict[str, Any]] = field(default_factory=dict)
    mitigation: dict[str, dict[str, Any]] = field(default_factory=dict)
    strengths: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    measure: dict[str, dict[str, Any]] = field(default_factory=dict)
    trial: Trial = field(default_factory=Trial)
    references: References = field(default_factory=References)
    logger: dict[str, Any] = field(default_factory=dict)
    cases: list[list[str]] = field(default_factory=list)
    limit: int | None = None
    limit_seed: int = 0
    seeds: list[int] = field(default_factory=list)
    noise_policy: str = "shared"
    batch_size: int | None = None
    fpr_targets: list[float] = field(default_factory=list)
    draws: int = 0
    bootstrap_seed: int = 0
    timing_repeats: int = 0
    gallery: int = 0
    workers: int | None = None
    on_failure: str = "stop"
    tensors: list[str] = field(default_factory=list)
    weights: str = "pretrained"
    dry_run: bool = False
    runs: str = ""
    paths: Paths = field(default_factory=Paths)


ConfigStore.instance().store("schema", Schema)


def testbed(variant: str) -> str:
    """The folder of a bundled model, which also holds its prompts; ``${testbed:VARIANT}``."""
    return str(Path(__file__).parent / "testbed" / variant)


OmegaConf.register_new_resolver("testbed", testbed)


def model_name(node: DictConfig) -> str:
    """What tables call a model: its name in ``conf/model``, else its repository's or folder's."""
    # Unresolved: the bundled models' place differs from machine to machine.
    path = str(_unresolved(node).get("path") or "")
    if known := _model_paths().get(path):
        return known
    if cached := re.search(r"models--(.+?)--(.+?)(/|$)", path):  # in the hub's cache, by commit
        return f"{cached[1]}/{cached[2]}"
    if not path:
        return str(node.get("stands_for") or "unknown")
    return Path(path).name if Path(path).is_absolute() or Path(path).is_dir() else path


def _unresolved(node: Any) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(node))


@cache
def _model_paths() -> dict[str, str]:
    """Path to name of the models in ``conf/model`` that have one."""
    found = {}
    for name in catalog.names("model"):
        node = OmegaConf.load(catalog.folder() / "model" / f"{name}.yaml")
        if "path" in node and not OmegaConf.is_missing(node, "path"):
            found[str(_unresolved(node)["path"])] = name
    return found


def cases(words: Sequence[str]) -> list[DictConfig]:
    """The configurations of :func:`composed`."""
    return [config for config, _ in composed(words)]


def composed(words: Sequence[str]) -> list[tuple[DictConfig, set[str]]]:
    """The configuration of every case of an experiment, with the settings that were chosen.

    A ``model=`` or ``dataset=`` among the overrides chooses the cases that have it, or makes a
    case of its own where none has.

    Arguments:
        words: The overrides, as on the command line.

    Raises:
        UserError: An unknown group member or setting, or a value of the wrong type.
    """
    overrides = [one for one in checked(words) if (one.key, one.value) != ("logger", None)]
    keys = {one.key for one in overrides}
    for group, file in (("model", "diffusers_folder"), ("dataset", "prompts_file")):
        if f"{group}.path" in keys and not keys & {group, "experiment"}:
            raise UserError(f"{group}.path is of a {group} to be named; give {group}={file} too")
    with one_line_errors(), initialize_config_dir(str(catalog.folder()), version_base="1.3"):
        whole = compose("config", [one.text for one in overrides])
        chosen = {one.text for one in overrides if one.key in ("model", "dataset")}
        matching = [case for case in whole.cases if chosen <= set(case)]
        found = []
        for case in matching or [[]]:
            every = [*checked(case), *overrides]
            config = compose("config", [one.text for one in every])
            with suppress(InterpolationToMissingValueError):  # what is missing is said where used
                OmegaConf.to_container(config, resolve=True)  # no interpolation fails later
            found.append((config, {one.key for one in every}))
    for config, _ in found:
        values.check(config)
    return found


def checked(words: Sequence[str], several: bool = False) -> list[Override]:
    """Overrides of which settings and group members exist.

    Arguments:
        words: As on the command line.
        several: A setting may have several values with commas between them.

    Raises:
        UserError: With the nearest name that does, or why a detector of one's own cannot be read.
    """
    overrides = read(words, several)
    known = {f.name for f in fields(Schema)} | set(GROUPS)
    for one in overrides:
        root = re.split(r"[.@\[]", one.key)[0]
        if root not in known and not one.key.startswith("hydra"):
            raise unknown("setting", root, known)
        if one.key in GROUPS:
            _check_members(one, several)
    return overrides


def _check_members(override: Override, several: bool) -> None:
    """Refuses what a group lacks."""
    from anisomem import registry

    group, members = override.key, override.value
    if several:
        members = re.findall(r"[\w-]+", override.text.partition("=")[2])
    elif group in LISTS:
        some = members if isinstance(members, str) else ",".join(catalog.names(group)[:2])
        if not isinstance(members, list) or not all(isinstance(one, str) for one in members):
            raise UserError(
                f"{group} is a list of names, '{group}=[{some}]'; got {override.text!r}"
            )
    else:
        members = [] if members is None and group == "logger" else [str(members)]
    for member in members:
        if group == "detector":
            registry.offer(member)
        elif member not in catalog.names(group):
            raise unknown(group, member, catalog.names(group))


def require_chosen(config: DictConfig, group: str) -> None:
    """Checks that there is something to do.

    Raises:
        UserError: Nothing of the group is chosen.
    """
    if not config[group]:
        raise UserError(f"no {group} chosen; use '{group}=[{','.join(catalog.names(group)[:2])}]'")


def completed(stored: DictConfig) -> DictConfig:
    """A stored configuration with the default of every setting that it does not know."""
    return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Schema), stored))


def build(node: DictConfig, what: str, **more: object) -> Any:
    """The object a configuration node describes.

    The current folder can be imported from while a target outside this package is looked up.

    Raises:
        UserError: Its target does not exist or refuses its arguments.
    """
    if missing := OmegaConf.missing_keys(node):
        raise UserError(f"{what} needs a value for {', '.join(sorted(missing))}")
    targets = list(own.targets(OmegaConf.to_container(node, resolve=False)))
    log.debug("%s is made by %s", what, ", ".join(targets))
    try:
        with concerning(what):  # an own class may raise anything
            with own.importable(targets):
                found = instantiate(node, _partial_=True, _convert_="all")
            # Detectors are passed as they are; Hydra would take dataclasses for settings.
            return found(**more)
    except UserError:
        raise
    except (HydraException, TypeError, ValueError, ImportError, AttributeError) as error:
        if not isinstance(error, HydraException) and not _ours(node):
            raise
        cause = (isinstance(error, HydraException) and error.__cause__) or error
        raise UserError(f"{what}: {' '.join(str(cause).split())}") from error


def _ours(node: DictConfig) -> bool:
    """Whether what it describes is of this package, so that its errors say what to do."""
    return str(node.get("_target_")).startswith(("anisomem.", "baselines."))


def detectors(config: DictConfig) -> list[Detector]:
    """Every detector of the table, one for each of its n.

    Raises:
        UserError: A detector that cannot be built, or an n that is not a positive integer.
    """
    built: list[Detector] = []
    for name, node in config.detector.items():
        if not OmegaConf.is_dict(node):
            raise UserError(f"detector.{name} holds settings, such as 'detector.{name}.n=[1]'")
        if "n" not in node:
            built.append(_detector(config, name, node))
            continue
        chosen = list(node.n) if OmegaConf.is_list(node.n) else [node.n]
        if not values.distinct(chosen) or not all(
            type(n) is int and 1 <= n <= SAMPLES for n in chosen
        ):
            raise UserError(
                f"detector.{name}.n must be distinct positive integers, got {node.n}; write "
                f"'detector.{name}.n=[1,4]', up to {SAMPLES:,}"
            )
        built += [_detector(config, name, node, n=n) for n in chosen]
    return built


def mitigations(config: DictConfig) -> list[Mitigation]:
    """Every mitigation of the table.

    Raises:
        UserError: One that cannot be built.
    """
    return [
        build(node, f"mitigation.{name}", name=name) for name, node in config.mitigation.items()
    ]


def measures(config: DictConfig) -> list[Measure]:
    """Every measure of the table.

    Raises:
        UserError: One that cannot be built.
    """
    return [build(node, f"measure.{name}", name=name) for name, node in config.measure.items()]


def node(group: str, name: str) -> dict[str, Any]:
    """The settings that a member of a group has by default."""
    file = OmegaConf.load(catalog.folder() / group / f"{name}.yaml")
    return cast(dict[str, Any], OmegaConf.to_container(file, resolve=True))[name]


def _detector(config: DictConfig, name: str, node: DictConfig, **more: Any) -> Detector:
    """A detector; those that it names as members are built with its n."""
    if "members" in node:
        members = [
            _detector(config, member, _detector_node(config, member), **more)
            for member in node.members
        ]
        more["members"] = members
        node = OmegaConf.masked_copy(node, [str(key) for key in node if key != "members"])
    if "_target_" not in node:
        raise UserError(f"detector.{name} has no _target_, the class that it is")
    found = build(node, f"detector.{name}", name=name, **more)
    if not isinstance(found, Detector):
        raise UserError(f"detector.{name}: {node._target_} is no Detector")
    return found


def _detector_node(config: DictConfig, name: str) -> DictConfig:
    """The settings of a detector in this run, or those it has by default."""
    if name in config.detector:
        return DictConfig(config.detector[name])
    from anisomem import registry

    return DictConfig(registry.find(name).node()[name])


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Hydra's and OmegaConf's complaints in one line each."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""
        raise UserError(
            "; ".join(part for part in dict.fromkeys([*lines[:2], cause]) if part)
        ) from None
