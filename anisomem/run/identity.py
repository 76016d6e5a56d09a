"""Which runs share what is recorded: a versioned description of all that changes a number.

A class stands in it by its name and not by its place in this package, so that moving a file
orphans nobody's run; a class of the user's stands by its dotted name, with a digest of its source.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import anisomem
from anisomem.config import own
from anisomem.config.moved import place_before, place_now
from anisomem.config.schema import BaselineSettings, Config
from anisomem.datasets.prompts import Prompts, PromptSet
from anisomem.models import adapters
from anisomem.storage.digests import fingerprint, sha256_of_file
from anisomem.storage.foreign import located, read_json

VERSION = 3  # raised when equal settings record other numbers, or in another layout

#: Settings that change what is recorded for a prompt.
INSIDE = frozenset({"baseline_model", "model", "noise_policy", "seeds"})
#: Settings that do not, or whose effect is inside otherwise: detectors by the components they
#: record, the dataset and the references by their prompts.
OUTSIDE = frozenset(
    {
        "batch_size",
        "bootstrap_seed",
        "calibration",
        "cases",
        "dataset",
        "detector",
        "devices",
        "draws",
        "dry_run",
        "engine",
        "fdr",
        "fpr_targets",
        "gallery",
        "left_out",
        "limit",
        "limit_seed",
        "logger",
        "measure",
        "mitigation",
        "on_failure",
        "paths",
        "pictures",
        "prompts",
        "references",
        "runs",
        "scan",
        "strengths",
        "tensors",
        "timing_repeats",
        "trial",
        "weights",
        "workers",
    }
)
#: The same for a model's own settings; others than these are inside.
OUTSIDE_MODEL = frozenset(
    {
        "alternative",
        "attention_slicing",
        "device",
        "offload",
        "parameterisation",
        "stands_for",
        "weights",
    }
)
#: Settings that came later: they count where they are set, so earlier runs stay what they are.
LATER_MODEL = frozenset({"adapters", "expected_sha256", "variant"})
PART = 10_000  # prompts that are written as JSON at a time
SHIPPED = Path(anisomem.__file__).parent / "models" / "architectures"


def describe(
    settings: Config,
    components: Mapping[str, int],
    prompts: Prompts,
    references: Sequence[str] = (),
    sources: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a run's identity is made of.

    Arguments:
        settings: The settings of the run.
        components: Every component with its number of noise samples.
        prompts: The prompt set.
        references: Prompts recorded besides.
        sources: Digests of the user's code, see :func:`anisomem.config.own.sources`.
    """
    own_settings = of_settings(settings)
    model = own_settings["model"]
    if (said := settings.model.get("parameterisation")) and Path(str(model.get("path"))).is_file():
        model["parameterisation"] = said  # of one file it chooses the configuration, too
    if model.get("path"):
        model |= _content(str(model["path"]))
    model |= _of_adapters(model.get("adapters"))
    baseline = _of_baseline(settings.baseline_model)
    return {
        "version": VERSION,
        **own_settings,
        **({"baseline_model": baseline} if baseline else {}),
        "components": dict(components),
        "prompts": describe_prompts(prompts),
        **({"references": list(references)} if references else {}),
        **({"sources": dict(sources)} if sources else {}),
    }


def of_settings(settings: Config) -> dict[str, Any]:
    """What settings alone say of a run's identity: nothing is looked at."""
    model = {
        k: v
        for k, v in by_class_name(settings.model).items()
        if k not in OUTSIDE_MODEL and not (k in LATER_MODEL and v in (None, []))
    }
    others = INSIDE - {"model", "baseline_model"}
    return {**{name: getattr(settings, name) for name in others}, "model": model}


def _of_baseline(baseline: BaselineSettings) -> dict[str, Any]:
    """What a second model is described by; nothing where none is given."""
    if not baseline.path:
        return {}
    given = {name: value for name, value in asdict(baseline).items() if value not in (None, [])}
    return (
        given
        | _content(baseline.path)
        | _of_adapters(baseline.adapters, "baseline_model.adapters")
    )


def _of_adapters(entries: Any, setting: str = adapters.SETTING) -> dict[str, Any]:
    """What stands for adapters, in their order: what the files hold, and the weights."""
    given = adapters.parsed(entries, setting)
    return {"adapters": [one.described for one in given]} if given else {}


def compares_with_itself(content: Mapping[str, Any]) -> bool:
    """Whether the second model of a description is the first, wherever it lies."""
    model, baseline = content["model"], content.get("baseline_model", {})
    return bool(baseline) and all(
        model.get(name) == baseline.get(name)
        for name in ("path", "revision", "variant", "adapters")
    )


def _content(path: str) -> dict[str, str]:
    """What stands for a model's path: what lies there counts, not where it lies."""
    place, described = located(path), {}
    if place and place.is_file():
        described["path"] = sha256_of_file(place)
    elif place and (place / "model_index.json").exists():
        described["path"] = fingerprint(place)
    shipped = SHIPPED / path.replace("/", "--")
    if _steps_as_the_scheduler_says(place or shipped):
        described["trajectories"] = "as the scheduler says"
    return described


def _steps_as_the_scheduler_says(folder: Path) -> bool:
    """Whether a pipeline's scheduler has steps that once were taken otherwise.

    Runs recorded before trajectories were clipped, and spaced, as a scheduler says stay valid
    where it says neither; others are recorded anew, also where it is not here to say.
    """
    file = folder / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        return True
    config = read_json(file)
    unsaid = config.get("_use_default_values") or []
    said = {name: value for name, value in config.items() if name not in unsaid}
    if "shift" in said:  # flow matching clips nothing
        return False
    usual = {"clip_sample": False, "thresholding": False, "timestep_spacing": "leading"}
    taken = {"thresholding": False, "timestep_spacing": "leading"} | said
    offset = taken.get("steps_offset", 0)
    return any(taken.get(name) != value for name, value in usual.items()) or offset not in (0, 1)


def describe_prompts(prompts: Prompts) -> str:
    """sha256 of ids and texts; labels and clusters concern the table alone."""
    return _of_lists(prompts.ids, prompts.texts)


def of_labels(prompts: PromptSet) -> str:
    """sha256 of ids, labels and clusters, which a table depends on and what is stored does not."""
    return _of_lists(prompts.ids, prompts.labels.tolist(), prompts.clusters.tolist())


def _of_lists(*columns: Sequence[Any]) -> str:
    """sha256 of the lists as JSON, of which no more than a part is made at a time."""
    digest = sha256(b"[")
    for k, column in enumerate(columns):
        digest.update(b", [" if k else b"[")
        for begin in range(0, len(column), PART):
            digest.update(b", " if begin else b"")
            digest.update(json.dumps(list(column[begin : begin + PART]))[1:-1].encode())
        digest.update(b"]")
    digest.update(b"]")
    return digest.hexdigest()


def by_class_name(node: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the name of what they describe as ``class``, in place of its ``_target_``."""
    rest = {key: value for key, value in node.items() if key != "_target_"}
    return {"class": class_name(node["_target_"]), **rest} if "_target_" in node else rest


def class_name(target: str) -> str:
    """What a dotted name of a class, or of a function, is called in an identity."""
    if own.is_own(target):
        return target
    parts = target.split(".")
    return next((part for part in parts if part[:1].isupper()), parts[-1])


def as_version_2(content: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The description of version 2 of the same run, whose model's class stood by its place."""
    rest = {name: value for name, value in content["model"].items() if name != "class"}
    model = {"_target_": place_before(target), **rest}
    return {**content, "version": 2, "model": model}


def carried_over(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """A description of version 2, in which classes stood by their place, as one of now.

    Others are returned as they are.
    """
    model = content.get("model")
    if content.get("version") != 2 or not isinstance(model, Mapping):
        return content
    now = {**model, "_target_": place_now(str(model.get("_target_")))}
    return {**content, "version": 3, "model": by_class_name(now)}
