"""What a setting may hold that has the right type.

Types and misspelt names are refused by ``schema``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from omegaconf import DictConfig, OmegaConf

from anisomem.config.overrides import PATHS, path
from anisomem.errors import UserError, one_of

SEED = 2**32 - 1
#: The least and the greatest of an integer.
RANGES = {
    "batch_size": (1, 1_000_000),
    "bootstrap_seed": (0, SEED),
    "draws": (100, 1_000_000),
    "gallery": (0, 1_000),
    "limit": (4, 1_000_000_000),
    "limit_seed": (0, SEED),
    "references.count": (2, 1_000_000),
    "references.seed": (0, SEED),
    "timing_repeats": (0, 1_000),
    "trial.memorized": (1, 1_000_000_000),
    "trial.others": (1, 1_000_000_000),
    "trial.seed": (0, SEED),
    "trial.sheet": (2, 1_000),
    "trial.steps": (1, 1_000),
    "workers": (1, 1_024),
}
WEIGHTS = ("pretrained", "random")
ENGINES = ("local", "ray")
OPTIONAL = {"batch_size", "limit", "trial.memorized", "trial.others", "workers"}


def check(config: DictConfig) -> None:
    """Refuses a value that makes no sense.

    Raises:
        UserError: What was given and what is expected.
    """
    seeds, targets = list(config.seeds), list(config.fpr_targets)
    expected = {
        "seeds": (
            distinct(seeds) and all(0 <= seed <= SEED for seed in seeds),
            "distinct integers from 0 to 2**32 - 1",
        ),
        "fpr_targets": (
            distinct(targets) and all(0 < target < 1 for target in targets),
            "distinct fractions between 0 and 1, such as 0.01 for 1%",
        ),
        "devices": (
            not config.devices or distinct(config.devices),
            "distinct devices, such as [cuda:0,cuda:1]",
        ),
        "tensors": (not config.tensors or distinct(config.tensors), "distinct ids of prompts"),
        "trial.guidance": (isfinite(config.trial.guidance), "a finite number"),
    }
    for name, (low, high) in RANGES.items():
        value, either = OmegaConf.select(config, name), " or null" * (name in OPTIONAL)
        form = f"an integer from {low:,} to {high:,}{either}"
        expected[name] = (low <= value <= high if value is not None else bool(either), form)
    for name, (valid, form) in expected.items():
        if not valid:
            raise UserError(f"{name} must be {form}; got {OmegaConf.select(config, name)}")
    for key in ("path", "dtype", "device"):
        given = "" if OmegaConf.is_missing(config.model, key) else config.model.get(key, "")
        if not isinstance(given, str):
            raise UserError(f"model.{key} must be a text, got {given!r}")
    one_of("engine", config.engine, ENGINES)
    if config.weights not in WEIGHTS:
        raise UserError(
            f"weights={config.weights} is of no model, of which it is {' or '.join(WEIGHTS)}; a "
            "detector's are detector.NAME.weights=equal, with its name"
        )
    # On the command line they have been read as paths; a mapping may hold them too.
    places = [f"dataset.{name}" for name in config.dataset]
    places += [f"measure.{name}.weights" for name in config.measure]
    for key in ("runs", "paths.data", "model.path", "references.prompts", *places):
        if PATHS.fullmatch(key) and (given := OmegaConf.select(config, key)) is not None:
            path(str(given), key)


def distinct(values: Sequence[object]) -> bool:
    """Whether there are any, each once and none of them a list or mapping."""
    if any(OmegaConf.is_config(value) or isinstance(value, list | dict) for value in values):
        return False
    return len(values) == len(set(values)) > 0
