"""On which devices of this machine a run's model computes; nothing else asks what there are.

Which processes compute on them is :mod:`anisomem.run.workers`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

DRIVERS = "/proc/driver/nvidia", "/dev/kfd", "/dev/dxg"  # of NVIDIA, of AMD, under Windows


def require_trained(config: Config, what: str) -> None:
    """Refuses random weights, which nothing but a benchmark of speed has a use for.

    Arguments:
        config: The settings of the run.
        what: What needs trained ones.

    Raises:
        UserError: They are random.
    """
    if config.model.get("weights") == "random":
        raise UserError(f"weights=random is for anisomem bench; {what} need weights=pretrained")


def accelerators() -> list[str]:
    """The GPUs of this machine that ``CUDA_VISIBLE_DEVICES`` leaves."""
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def drivers() -> list[str]:
    """Drivers of GPUs that this machine has, told without torch, whose import takes seconds."""
    return [path for path in DRIVERS if os.path.exists(path)]


def loaded(config: Config, device: str | None = None) -> DiffusionModel:
    """A run's model, with the one that it is compared with where the settings name one.

    Arguments:
        config: The settings of the run.
        device: Where to; where not given, the first that the settings name.

    Raises:
        UserError: A device that is not there, a model that is not to be had, or two that cannot be
            compared.
    """
    place = device or first(config)
    node = config.model | ({"device": place} if place else {})
    model: DiffusionModel = build(node, "model")
    if config.baseline_model.path:
        model.baseline = _baseline(config, node, model)
    return model


def _baseline(config: Config, node: Mapping[str, Any], model: DiffusionModel) -> DiffusionModel:
    """The model that a run's model is compared with, loaded as that is."""
    own = asdict(config.baseline_model)
    if "path" not in node:
        raise UserError(
            f"model {config.model_name} has no setting path, so baseline_model.path={own['path']}"
            " cannot be loaded as it is; give baseline_model.path=null"
        )
    unsaid = {name: None for name in ("alternative",) if name in node}
    settings = {
        name: value for name, value in own.items() if name in node or value not in (None, [])
    }
    try:
        baseline: DiffusionModel = build({**node, **settings, **unsaid}, "baseline_model")
    except UserError as error:  # a model calls its settings model.NAME
        renamed = re.sub(rf"\bmodel\.(?=({'|'.join(own)})\b)", "baseline_model.", str(error))
        raise UserError(renamed) from None
    if said := model.unlike(baseline):
        raise UserError(
            f"baseline_model.path={own['path']} cannot be compared with the model: {said}; give an"
            " earlier checkpoint of it, or what it was tuned from"
        )
    return baseline


def first(config: Config) -> str | None:
    """The device of this process, the first that the settings name; None is what the model says.

    Raises:
        UserError: Devices that are not there, or that another setting contradicts.
    """
    return next(iter(_named(config)), None)


def of_processes(config: Config, model: DiffusionModel) -> list[str | None]:
    """The device of every process that shares the work; None is the one that the model says.

    One process for each of several devices, and one for each core of a CPU, unless ``workers``
    says how many; these take the devices in turn.

    Arguments:
        config: The settings of the run.
        model: Its model, loaded here.
    """
    named: list[str | None] = [*_named(config)]
    if not named and config.model.get("device") == "auto" and model.device.type != "cpu":
        named = [*accelerators()]
    places = named or [None]
    one_each = len(places) > 1 or model.device.type != "cpu"
    count = config.workers or (len(places) if one_each else len(os.sched_getaffinity(0)))
    return [places[i % len(places)] for i in range(count)]


def _named(config: Config) -> list[str]:
    """The devices that the settings name.

    Raises:
        UserError: One that is not there, several kinds, or ones that another setting contradicts.
    """
    named = list(config.devices)
    if not named:
        return []
    there, given = ["cpu", *accelerators()], f"devices=[{','.join(named)}]"
    for name in named:
        if name not in there:
            raise UserError(
                f"{given} names {name!r}, and this machine has {', '.join(there)}; "
                "CUDA_VISIBLE_DEVICES may hide GPUs"
            )
    kinds = {name.partition(":")[0] for name in named}
    if len(kinds) > 1:
        raise UserError(
            f"{given} are of several kinds, whose numbers differ in the last digits; name those "
            "of one"
        )
    set_to = config.model.get("device")
    if set_to is None:
        raise UserError(
            f"{given}, and model {config.model_name} has no setting model.device; leave it out"
        )
    if set_to != "auto" and set_to not in (*kinds, *named):
        raise UserError(f"{given} contradicts model.device={set_to}; give model.device=auto")
    if config.workers and config.workers < len(named):
        raise UserError(
            f"workers={config.workers} leaves some of {given} idle; give workers=null, a process "
            "each"
        )
    return named
