"""Composes command-line overrides to one checked configuration for each case, with Hydra.

The words are read in ``overrides``; types are declared in ``schema`` and values checked in
``values``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, cast

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from anisomem.config import catalog, members, registry, values
from anisomem.config.catalog import GROUPS, LISTS
from anisomem.config.overrides import Override, read
from anisomem.config.schema import PARTS, Config, Schema
from anisomem.errors import UserError, unknown

ConfigStore.instance().store("schema", Schema)

# As Hydra says it.
ABSENT = re.compile(r"Could not override '([\w.]+)\.(\w+)'")
LACKING = re.compile(r"Could not find '([\w/]+)/([\w-]+)'\s+Available options in .*:((?:\n\t.*)*)")
REFUSED = re.compile(r"Error merging override \+*(.*)")


def cases(words: Sequence[str]) -> list[Config]:
    """The configurations of :func:`composed`."""
    return [config for config, _ in composed(words)]


def composed(words: Sequence[str]) -> list[tuple[Config, set[str]]]:
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
        whole = _compose(overrides)
        chosen = {one.text for one in overrides if one.key in ("model", "dataset")}
        matching = [case for case in whole.cases if chosen <= set(case)]
        configs = []
        for case in matching or [[]]:
            every = [*checked(case), *overrides]
            config = _compose(every) if case else whole
            values.check(config)
            _leave_out_unchosen(config, every)
            _leave_out_unserved(config)
            configs.append((_plain(config), {one.key for one in every}))
    return configs


def _leave_out_unchosen(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Removes what an experiment sets of a member that is not chosen.

    Raises:
        UserError: The user sets something of one.
    """
    named = {tuple(one.key.split(".")[:2]) for one in overrides}
    chosen = {(one.key, name) for one in overrides if one.key in LISTS for name in one.value or []}
    for group in LISTS:
        for name, node in list(config[group].items()):
            if not OmegaConf.is_dict(node) or "_target_" in node or (group, name) in chosen:
                continue
            if (group, name) not in named:
                with open_dict(config):
                    del config[group][name]
            elif name in catalog.names(group):
                raise UserError(f"{group}.{name} is of a {group} that is not chosen")


def _leave_out_unserved(config: DictConfig) -> None:
    """Removes the detectors that ``left_out`` names for the model, and from it all others.

    Raises:
        UserError: No detector is left.
    """
    own = members.model_name(cast(dict[str, Any], OmegaConf.to_container(config.model)))
    reasons = {n: why for n, why in config.left_out.get(own, {}).items() if n in config.detector}
    with open_dict(config):
        for name in reasons:
            del config.detector[name]
        config.left_out = {own: reasons} if reasons else {}
    if reasons and not config.detector:
        told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        raise UserError(f"{own} serves none of the detectors: {told}")


def _compose(overrides: Sequence[Override]) -> DictConfig:
    """What Hydra makes of overrides; whatever it meets there is about one of them.

    Raises:
        UserError: A name within a list, such as ``detector.wen.n.x=3``.
        HydraException, OmegaConfBaseException: As Hydra says it.
    """
    texts = [one.text for one in overrides]
    try:
        return compose("config", texts)
    except (ValueError, TypeError) as error:
        for count, one in enumerate(overrides, 1):  # Hydra does not say which it is
            try:
                compose("config", texts[:count])
            except (ValueError, TypeError):
                parent = one.key.rpartition(".")[0]
                raise UserError(f"there is no setting {one.key}: {parent} is a list") from None
        raise HydraException(str(error)) from None


def checked(words: Sequence[str], several: bool = False) -> list[Override]:
    """Overrides of which settings and group members exist.

    Arguments:
        words: The words of the command line.
        several: A setting may have several values with commas between them.

    Raises:
        UserError: A name does not exist, with the nearest that does; or why a detector of one's
            own cannot be read.
    """
    overrides = read(words, several)
    known = {f.name for f in fields(Schema)} | set(GROUPS)
    for one in overrides:
        root = re.split(r"[.\[]", one.key)[0]
        if root not in known and not one.key.startswith("hydra"):
            if root in members.members("model")["diffusers_folder"]:
                raise UserError(f"{root} is a setting of the model; write model.{root}=VALUE")
            raise unknown("setting", root, known)
        if one.key == "hydra":
            raise UserError(
                f"hydra has settings of its own, such as hydra.sweep.dir=FOLDER; got {one.value!r}"
            )
        if one.key in GROUPS:
            _check_members(one, several)
        elif one.value is not None or not several:  # several values are checked one by one
            values.require_type(one)
    return overrides


def _check_members(override: Override, several: bool) -> None:
    """Refuses what a group lacks."""
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
    if group == "detector":
        registry.offer(*members)
        return
    for member in members:
        if member not in catalog.names(group):
            raise unknown(group, member, catalog.names(group))


def require_chosen(config: Config, group: str) -> None:
    """Checks that there is something to do.

    Raises:
        UserError: Nothing of the group is chosen.
    """
    if not getattr(config, group):
        raise UserError(f"no {group} chosen; use '{group}=[{','.join(catalog.names(group)[:2])}]'")


def completed(stored: dict[str, Any]) -> Config:
    """A stored configuration with the default of every setting that it does not know.

    Raises:
        ValueError: It is no configuration.
    """
    try:
        return _plain(cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Schema), stored)))
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from None


def given(settings: Mapping[str, Any]) -> Config:
    """Settings that a program gives, checked as those of a command are; all that a run has.

    Raises:
        UserError: A value that its setting cannot have.
    """
    plain = {name: _without_arrays(value) for name, value in settings.items()}
    for name, value in plain.items():
        if values.form(name):
            values.require_type(Override(name, value, f"{name}={value}"))
    with one_line_errors():
        config = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Schema), plain))
        values.check(config)
        return _plain(config)


def _without_arrays(value: Any) -> Any:
    """A program's value without numpy's numbers, which settings have not."""
    if isinstance(value, list | tuple):
        return [_without_arrays(one) for one in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _plain(config: DictConfig) -> Config:
    """Settings as plain values; where one is looked up in what is missing, none is resolved."""
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except InterpolationToMissingValueError:  # what is missing is said where it is used
        resolved = OmegaConf.to_container(config)
    plain = cast(dict[str, Any], resolved)
    for name, kind in PARTS.items():
        plain[name] = kind(**plain[name])
    model = cast(dict[str, Any], OmegaConf.to_container(config.model))
    return Config(
        **plain,
        model_name=members.model_name(model),
        model_listed=members.listed(model),
        text=OmegaConf.to_yaml(config),
    )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Hydra's and OmegaConf's complaints in one line each."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if (refused := ABSENT.search(str(error))) and (known := _settings_beside(refused[1])):
            parent, name = refused.groups()
            if name not in known:
                raise unknown(f"setting of {parent}", name, known) from None
            group = parent.partition(".")[0]
            raise UserError(f"{parent}.{name} is of a {group} that is not chosen") from None
        if refused := ABSENT.search(str(error)):
            raise UserError(f"there is no setting {refused[1]}.{refused[2]}") from None
        if lacking := LACKING.search(str(error)):
            raise unknown(lacking[1], lacking[2], lacking[3].split()) from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if refused := REFUSED.match(lines[0] if lines else ""):
            lines[:1] = [f"{refused[1]} cannot be set"]
        cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""
        raise UserError(
            ": ".join(part for part in dict.fromkeys([*lines[:2], cause]) if part)
        ) from None


def _settings_beside(parent: str) -> set[str]:
    """The settings that stand in a node by default; none where the files do not say."""
    group, _, name = parent.partition(".")
    if group in LISTS:
        return set(members.node(group, name)) if name in catalog.names(group) else set()
    nodes = members.members(group).values() if group in GROUPS and not name else ()
    return {setting for node in nodes for setting in node} - {"defaults"}
