"""Loads a model as a run does, or takes one that is in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from hashlib import sha256
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from diffusers import DiffusionPipeline

from anisomem.api.plain import literal
from anisomem.config import catalog, compose, overrides
from anisomem.config.schema import BaselineSettings, Config
from anisomem.console.progress import phase
from anisomem.errors import UserError, unknown
from anisomem.models import families
from anisomem.models.base import DiffusionModel
from anisomem.models.pipeline import PipelineModel
from anisomem.run import devices

Source: TypeAlias = str | os.PathLike[str] | DiffusionPipeline | DiffusionModel
Dtype = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class _Known:
    """How a model was loaded: the settings of a run of it, and its own before any is resolved."""

    config: Config
    node: dict[str, Any]


#: How models were loaded; of those in memory nothing.
_KNOWN: WeakKeyDictionary[DiffusionModel, _Known] = WeakKeyDictionary()
IN_MEMORY = "in memory"
PLACE = "diffusers_folder"  # the name of a model by its place


def load_model(
    source: Source,
    *,
    revision: str | None = None,
    dtype: Dtype | None = None,
    device: str | None = None,
    **settings: Any,
) -> DiffusionModel:
    """A model, loaded exactly as ``anisomem run`` loads it.

    Arguments:
        source: A name of ``anisomem list models``; a folder in diffusers' layout, a checkpoint in
            one file or a repository of the hub, as OWNER/NAME; or a pipeline of diffusers that is
            in memory, whose parts are used and not copied. A loaded model is returned as it is.
        revision: A commit, branch or tag of the repository; its main branch if not given.
        dtype: ``float32``, ``float16`` or ``bfloat16``; the usual one of the name, float32 of
            others, if not given.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` if not given, which is CUDA if
            there is one. A pipeline in memory stays where it is if not given.
        settings: Further settings of ``conf/model/diffusers_folder.yaml``, such as
            ``stands_for="sd14"``, the published model whose detector weights apply.

    Raises:
        UserError: Nothing can be loaded from there, it is of no family that is supported, or a
            setting is wrong.
    """
    said = {"dtype": dtype, "device": device}  # which torch's own objects may say, too
    given: dict[str, Any] = {
        name: str(value).removeprefix("torch.") for name, value in said.items() if value
    }
    given |= {"revision": revision} if revision else {}
    given |= {name: value for name, value in settings.items() if value is not None}
    if isinstance(source, DiffusionModel):
        _require_nothing(given, "a loaded model")
        return source
    if isinstance(source, DiffusionPipeline):
        stands_for, place = given.pop("stands_for", None), given.pop("device", None)
        _require_nothing(given, "a pipeline in memory")
        model: DiffusionModel = families.of(source, stands_for, place)
        return model
    if not isinstance(source, str | os.PathLike):
        raise UserError(
            "a model is a name, a folder, OWNER/NAME in the hub or a pipeline of diffusers; got "
            f"{type(source).__name__}"
        )
    known = _known(os.fspath(source), given)
    with phase(f"{known.config.model_name}: load", brief=True):
        model = devices.loaded(known.config)
    _KNOWN[model] = known
    return model


def _require_nothing(given: dict[str, Any], what: str) -> None:
    """Refuses settings of what is loaded already."""
    if given:
        raise UserError(
            f"{what} has its {', '.join(given)} already; leave that out, or load it from its place"
        )


def _known(source: str, given: dict[str, Any]) -> _Known:
    """The settings of a run of a model, by its name or its place."""
    for name, value in {"model": source, **given}.items():
        if isinstance(value, str):
            literal(value, name)
    listed = source in catalog.names("model")
    if not listed and os.sep not in source and not os.path.lexists(source):
        raise unknown("model", source, catalog.names("model"))
    if os.path.isabs(source) and not os.path.lexists(source):
        raise UserError(f"there is no model at {source}")
    node = member("model", source if listed else PLACE)
    if not listed:
        node["path"] = overrides.path(source, "model.path")
    for name in given:
        if name not in (known := set(node) - {"_target_", "path", "weights"}):
            raise unknown("setting of a model", name, known)
    node |= given
    return _Known(compose.given({**base(), "model": node}), node)


def member(group: str, name: str) -> dict[str, Any]:
    """The settings of a model or a prompt set, as a run that names it has them."""
    return dict(_composed(f"{group}={name}")[group])


def base() -> dict[str, Any]:
    """The settings of a run where nothing else is said."""
    return _composed("dataset=testbed_epsilon")


@cache
def _composed(chosen: str) -> dict[str, Any]:
    usual = ["detector=[]", "cases=[[]]", "gallery=0", "timing_repeats=0", "workers=1"]
    (config,) = compose.cases([*usual, chosen])
    return config.composed


def asked(model: DiffusionModel, baseline: DiffusionModel | None, **settings: Any) -> Config:
    """The settings of a run of a model that is loaded, in this process.

    Arguments:
        model: The model.
        baseline: A second one that it is compared with, if any.
        settings: Those of the run.

    Raises:
        UserError: A value that its setting cannot have.
    """
    known = _KNOWN.get(model)
    node = known.node if known else _in_memory(model)
    second = {"baseline_model": _as_baseline(baseline, node)} if baseline else {}
    config = compose.given({**base(), "model": node, **second, **settings})
    return config if known else replace(config, model_name=named(model))


def _as_baseline(baseline: DiffusionModel, model: dict[str, Any]) -> dict[str, Any]:
    """What settings say of a second model, which one of the two may have become in memory."""
    node = known.node if (known := _KNOWN.get(baseline)) else {"path": named(baseline)}
    said = {one.name: node.get(one.name) for one in fields(BaselineSettings)}
    same = said["path"] == model.get("path")
    return said | ({"path": f"{said['path']} {IN_MEMORY}"} if same else {})


def _in_memory(model: DiffusionModel) -> dict[str, Any]:
    """What settings say of a model that no settings load."""
    return {
        "_target_": "anisomem.models.families.of",
        "class": type(model).__name__,
        "stands_for": model.stands_for,
    }


def named(model: DiffusionModel) -> str:
    """What tables call a model."""
    if known := _KNOWN.get(model):
        return known.config.model_name
    kind = model.pipeline if isinstance(model, PipelineModel) else model
    return f"{type(kind).__name__} {IN_MEMORY}"


def weights_in_memory(model: DiffusionModel) -> str:
    """sha256 of a model's weights as they are now, which may be others than in its files.

    Raises:
        UserError: It was not loaded from a place that says all else.
    """
    import torch

    if model not in _KNOWN or not isinstance(model, PipelineModel):
        raise UserError(
            f"{named(model)}: what is recorded of a model in memory cannot be continued; save it "
            "by pipeline.save_pretrained(FOLDER) and give load_model(FOLDER), or leave out runs"
        )
    total = sha256()
    for part, networks in model.networks.items():
        for number, network in enumerate(networks):
            for name, tensor in sorted(network.state_dict().items()):
                total.update(f"{part} {number} {name} {tensor.dtype} {tensor.shape}".encode())
                plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                total.update(plain.numpy().tobytes())
    return total.hexdigest()


def _are_one(model: DiffusionModel, other: DiffusionModel) -> bool:
    """Whether two models were loaded from one place and have the same weights yet."""
    ours, theirs = _KNOWN.get(model), _KNOWN.get(other)
    if not (ours and theirs and ours.node.get("path") == theirs.node.get("path")):
        return False
    return weights_in_memory(model) == weights_in_memory(other)


@contextmanager
def compared_with(model: DiffusionModel, baseline: DiffusionModel | None) -> Iterator[None]:
    """A model has a second one beside it meanwhile.

    Raises:
        UserError: They cannot be compared.
    """
    if baseline is None:
        yield
        return
    if baseline is model or _are_one(model, baseline):
        raise UserError(
            "the baseline is the model itself, so every difference is 0; give an earlier "
            "checkpoint of it, or what it was tuned from"
        )
    if said := model.unlike(baseline):
        raise UserError(f"the baseline cannot be compared with the model: {said}")
    before, model.baseline = model.baseline, baseline
    try:
        yield
    finally:
        model.baseline = before
