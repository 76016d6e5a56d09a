"""Scores that a packet states, as nobody can compute them of what it holds.

They are of detectors that are not this package's, whose code a stranger's packet must not name,
and of those that read the prompts where these are hidden. Everything else follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from anisomem.benchmark.results import Results
from anisomem.detection.base import Array, Components, Detector, Recorded
from anisomem.errors import UserError

FILE = "stated.json"


@dataclass
class Stated(Detector):
    """A detector of which only the scores are known.

    Arguments:
        scores: Of every judged prompt, ``[N]``, by noise seed.
        refused: Why it could not be scored.
        said: What a reader of its row must know.
        cost: The key of its cost.
        compares: Whether it compares the model with another.
    """

    scores: Mapping[int, Sequence[float]] = field(default_factory=dict)
    refused: str | None = None
    said: str | None = None
    costs: str = ""
    compares: bool = False

    def __post_init__(self) -> None:
        """Its fields are no options."""

    def components(self) -> Components:
        return []

    def combine(self, recorded: Recorded) -> Array:
        if self.refused is not None:
            raise ValueError(self.refused)
        scores = self.scores[recorded.seed]
        if len(scores) != len(recorded.prompts):
            raise ValueError("its scores are stated for all prompts together")
        return np.array(scores, np.float64)

    def remark(self, prompts: Any, seeds: int) -> str | None:
        return self.said

    @property
    def compares_models(self) -> bool:
        return self.compares

    @property
    def cost_key(self) -> str:
        return self.costs


def described(results: Results, detector: Detector) -> dict[str, Any]:
    """A detector of a finished run, as a packet states it."""
    stated = detector.key in results.scores
    return {
        "name": detector.name,
        "n": detector.n,
        "refused": results.scored.refused.get(detector.key),
        "said": detector.remark(results.prompts, len(results.config.seeds)) if stated else None,
        "costs": detector.cost_key,
        "compares": detector.compares_models,
        "scores": {
            str(seed): results.scores[detector.key][s].tolist()
            for s, seed in enumerate(results.config.seeds)
        }
        if stated
        else {},
    }


def read(content: object, seeds: Sequence[int]) -> list[Stated]:
    """What a packet states.

    Arguments:
        content: What its file says.
        seeds: The noise seeds of the run.

    Raises:
        ValueError: It says something else than pack writes.
    """
    if not isinstance(content, dict) or not isinstance(content.get("detectors"), list):
        raise ValueError
    return [_one(one, seeds) for one in content["detectors"]]


def _one(one: object, seeds: Sequence[int]) -> Stated:
    kinds: dict[str, tuple[type, ...]]
    kinds = {"name": (str,), "n": (int,), "costs": (str,), "compares": (bool,), "scores": (dict,)}
    kinds |= {"refused": (str, type(None)), "said": (str, type(None))}
    if not isinstance(one, dict) or set(one) != set(kinds):
        raise ValueError
    if any(type(one[name]) not in allowed for name, allowed in kinds.items()):
        raise ValueError
    scores, wanted = one["scores"], [] if one["refused"] else [str(seed) for seed in seeds]
    if list(scores) != wanted:
        raise ValueError
    for values in scores.values():
        if not isinstance(values, list) or not all(
            type(v) in (int, float) and isfinite(v) for v in values
        ):
            raise ValueError
    return Stated(**{**one, "scores": {int(seed): values for seed, values in scores.items()}})


def require_shape(stated: Sequence[Stated], count: int, file: object) -> None:
    """Checks that scores are stated for every judged prompt.

    Raises:
        UserError: They are of fewer or more.
    """
    for one in stated:
        if any(len(values) != count for values in one.scores.values()):
            raise UserError(f"{file} states other numbers of scores than there are prompts")
