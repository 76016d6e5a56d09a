"""A user's training pictures, as a scan's settings name them, and what compares pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anisomem.config import members
from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.datasets import training_folder
from anisomem.datasets.training_folder import TrainingFolder
from anisomem.errors import UserError
from anisomem.measures.base import Vectors

USUAL = "training_rank"  # needs no download


def training_of(config: Config) -> TrainingFolder | None:
    """The folder of ``pictures=``; None where none is given.

    Raises:
        UserError: No pictures, none generated to compare them with, or a measure that compares
            none.
    """
    if not config.pictures:
        if config.measure:
            raise UserError(
                "a scan measures how near training pictures are; give pictures=FOLDER, or leave "
                "out measure="
            )
        return None
    if not config.gallery:
        raise UserError(
            f"pictures={config.pictures} is compared with pictures that are generated for flagged "
            "prompts, and gallery=0 makes none; give gallery=20 for those of the 20 highest"
        )
    measure_of(config)
    return training_folder.found(config.pictures)


def node_of(config: Config) -> tuple[str, Mapping[str, Any]]:
    """The name and the settings of the measure that compares pictures.

    Raises:
        UserError: Several are chosen.
    """
    if len(config.measure) > 1:
        names = ", ".join(config.measure)
        raise UserError(f"a scan compares pictures by one measure, got {names}; {_advice()}")
    for name, node in config.measure.items():
        return name, node
    return USUAL, members.node("measure", USUAL)


def measure_of(config: Config) -> Vectors:
    """The measure, not started.

    Raises:
        UserError: It cannot be built, or compares no vectors.
    """
    name, node = node_of(config)
    measure = build(node, f"measure.{name}", name=name)
    if not isinstance(measure, Vectors):
        raise UserError(f"{name} does not find the nearest of many pictures; {_advice()}")
    return measure


def started(config: Config) -> Vectors:
    """The measure with what it needs.

    Raises:
        UserError: Weights that are not there, or are others than they should be.
    """
    measure = measure_of(config)
    measure.load(str(config.model.get("device") or "auto"))
    return measure


def _advice() -> str:
    return f"give 'measure=[{USUAL}]' or 'measure=[sscd]'"
