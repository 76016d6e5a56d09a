"""What a setting may hold: its type, which ``schema`` declares, and its values.

Misspelt names are refused in ``compose``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from math import isfinite

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anisomem.config.catalog import LISTS
from anisomem.config.overrides import PATHS, Override, path
from anisomem.config.schema import PARTS, Schema
from anisomem.errors import UserError, one_of, unknown

SEED = 2**32 - 1
WEIGHTS = ("pretrained", "random")
ON_FAILURE = ("stop", "keep", "retry")
ENGINES = ("local", "ray")
NOISE_POLICIES = ("shared", "per_prompt")
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
    "scan.audit": (0, 1_000_000),
    "scan.cheap": (1, 1_000_000),
    "scan.ordinary": (1, 1_000_000),
    "scan.seed": (0, SEED),
    "scan.shown": (1, 10_000),
    "timing_repeats": (0, 1_000),
    "trial.memorized": (1, 1_000_000_000),
    "trial.others": (1, 1_000_000_000),
    "trial.seed": (0, SEED),
    "trial.sheet": (2, 1_000),
    "trial.steps": (1, 1_000),
    "workers": (1, 1_024),
}
OPTIONAL = {"batch_size", "limit", "scan.ordinary", "trial.memorized", "trial.others", "workers"}
#: What the others hold, in words.
FORMS = {
    "seeds": "distinct integers from 0 to 2**32 - 1, 'seeds=[42,51]'",
    "fpr_targets": "distinct fractions between 0 and 1, 'fpr_targets=[0.01,0.03]' for 1% and 3%",
    "devices": "distinct devices, 'devices=[cuda:0,cuda:1]'",
    "engine": f"one of {', '.join(ENGINES)}",
    "tensors": "distinct ids of prompts, 'tensors=[ID]'",
    "trial.guidance": "a finite number",
    "dry_run": "true or false",
    "on_failure": f"one of {', '.join(ON_FAILURE)}",
    "noise_policy": f"one of {', '.join(NOISE_POLICIES)}",
    "weights": f"one of {', '.join(WEIGHTS)}",
    "runs": "a folder",
    "paths.data": "a folder",
    "references.prompts": "a file",
    "prompts": "a file, a folder, a hub dataset as OWNER/NAME, or the name of a prompt set",
    "calibration": "a file, a folder, a hub dataset as OWNER/NAME, or the name of a prompt set",
    "pictures": "a folder",
    "fdr": "a fraction between 0 and 1, fdr=0.1 for 10%",
    "scan.share": "a fraction above 0 and at most 1, scan.share=0.05 for 5%",
    "cases": 'lists of overrides, \'cases=[["model=testbed_epsilon","dataset=testbed_epsilon"]]\'',
    "strengths": "lists of values, 'strengths.wen.steps=[5,10]'",
}


def form(name: str) -> str | None:
    """What a setting must be, in words; None where nothing is known of it."""
    if name in RANGES:
        low, high = RANGES[name]
        return f"an integer from {low:,} to {high:,}{' or null' * (name in OPTIONAL)}"
    return FORMS.get(name)


def require_type(override: Override) -> None:
    """Refuses a value that its setting cannot hold; names are checked where they are composed.

    Raises:
        UserError: What was given and what is expected.
    """
    name, given = override.key, override.value
    group, _, member = name.partition(".")
    if member and group != "strengths" and (expected := form(group)):
        raise UserError(f"{group} has no {member!r} to be set; it must be {expected}")
    if group in PARTS and member:
        setting, _, more = member.partition(".")
        known = {field.name for field in fields(PARTS[group])}
        if setting not in known:
            raise unknown(f"setting of {group}", setting, known)
        inside = getattr(PARTS[group](), setting)
        if more and not isinstance(inside, dict):
            raise UserError(f"{group}.{setting} has no {more!r} to be set")
    if isinstance(given, dict) and name in PARTS:
        for key, value in given.items():
            require_type(Override(f"{name}.{key}", value, override.text))
    elif name in PARTS:
        first = f"{name}.{fields(PARTS[name])[0].name}"
        raise UserError(f"{name} has settings of its own, such as {first}=VALUE; got {given!r}")
    elif group in LISTS and member and "." not in member and not isinstance(given, dict):
        raise UserError(f"{name} has settings of its own, {name}.SETTING=VALUE; got {given!r}")
    elif expected := form(group if group == "strengths" else name):
        try:
            OmegaConf.update(OmegaConf.structured(Schema), name, given)
        except OmegaConfBaseException:
            raise UserError(f"{name} must be {expected}; got {given!r}") from None


def check_words(config: Schema | DictConfig) -> None:
    """Refuses a word that a setting of words does not know.

    Raises:
        UserError: The nearest that it knows.
    """
    one_of("on_failure", config.on_failure, ON_FAILURE)
    one_of("noise_policy", config.noise_policy, NOISE_POLICIES)
    one_of("engine", config.engine, ENGINES)


def check(config: DictConfig) -> None:
    """Refuses a value that makes no sense.

    Raises:
        UserError: What was given and what is expected.
    """
    seeds, targets = list(config.seeds), list(config.fpr_targets)
    valid = {
        "seeds": distinct(seeds) and all(0 <= seed <= SEED for seed in seeds),
        "fpr_targets": distinct(targets) and all(0 < target < 1 for target in targets),
        "devices": not config.devices or distinct(config.devices),
        "tensors": not config.tensors or distinct(config.tensors),
        "trial.guidance": isfinite(config.trial.guidance),
        "fdr": 0 < config.fdr < 1,
        "scan.share": 0 < config.scan.share <= 1,
    }
    for name, (low, high) in RANGES.items():
        value = OmegaConf.select(config, name)
        valid[name] = low <= value <= high if value is not None else name in OPTIONAL
    for name, right in valid.items():
        if not right:
            raise UserError(f"{name} must be {form(name)}; got {OmegaConf.select(config, name)}")
    check_words(config)
    for key in ("path", "dtype", "device"):
        given = "" if OmegaConf.is_missing(config.model, key) else config.model.get(key, "")
        if not isinstance(given, str):
            raise UserError(f"model.{key} must be a text, got {given!r}")
    if config.weights not in WEIGHTS:
        raise UserError(
            f"weights={config.weights} is of no model, of which it is {' or '.join(WEIGHTS)}; a "
            "detector's are detector.NAME.weights=equal, with its name"
        )
    # On the command line they have been read as paths; a mapping may hold them too.
    places = [f"dataset.{name}" for name in config.dataset]
    places += [f"measure.{name}.weights" for name in config.measure]
    texts = ("runs", "prompts", "calibration", "pictures", "paths.data", "references.prompts")
    for key in (*texts, "model.path", "baseline_model.path", *places):
        if PATHS.fullmatch(key) and (given := OmegaConf.select(config, key)) is not None:
            path(str(given), key)


def distinct(values: Sequence[object]) -> bool:
    """Whether there are any, each once and none of them a list or mapping."""
    if any(OmegaConf.is_config(value) or isinstance(value, list | dict) for value in values):
        return False
    return len(values) == len(set(values)) > 0
