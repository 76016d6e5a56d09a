"""Which runs share a store: a versioned digest over everything that changes a recorded number."""

import json
from collections.abc import Mapping, Sequence
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any

import anisomem
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.storage.foreign import located, read_json, regular

VERSION = 2  # raised when equal settings record other numbers, or in another layout

MOST_FILES = 10_000  # in the folder of a model; `/tmp` by mistake would be read for hours

#: Settings that change what is recorded for a prompt.
INSIDE = frozenset({"model", "noise_policy", "seeds"})
#: Settings that do not, or whose effect is inside otherwise: detectors by the components they
#: record, the dataset and the references by their prompts.
OUTSIDE = frozenset(
    {
        "batch_size",
        "bootstrap_seed",
        "cases",
        "dataset",
        "detector",
        "draws",
        "dry_run",
        "fpr_targets",
        "gallery",
        "limit",
        "limit_seed",
        "logger",
        "measure",
        "mitigation",
        "on_failure",
        "paths",
        "references",
        "runs",
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
LATER_MODEL = frozenset({"variant"})
SHIPPED = Path(anisomem.__file__).parent / "models" / "architectures"


def describe(
    settings: Mapping[str, Any],
    components: Mapping[str, int],
    prompts: PromptSet,
    references: Sequence[str] = (),
    sources: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a run's identity is made of.

    Arguments:
        settings: The resolved configuration.
        components: Every component with its number of noise samples.
        prompts: The prompt set.
        references: Prompts recorded besides.
        sources: Digests of code that is not this package's, see :func:`anisomem.config.own.sources`.
    """
    model = {
        k: v
        for k, v in settings["model"].items()
        if k not in OUTSIDE_MODEL and not (k in LATER_MODEL and v is None)
    }
    if "path" in model:
        model |= _content(str(model["path"]))
    return {
        "version": VERSION,
        **{name: settings[name] for name in INSIDE - {"model"}},
        "model": model,
        "components": dict(components),
        "prompts": of_prompts(prompts),
        **({"references": list(references)} if references else {}),
        **({"sources": dict(sources)} if sources else {}),
    }


def _content(path: str) -> dict[str, str]:
    """What stands for a model's path: what lies there counts, not where it lies."""
    place, found = located(path), {}
    if place and place.is_file():
        found["path"] = _sha256(place)
    elif place and (place / "model_index.json").exists():
        found["path"] = fingerprint(place)
    shipped = SHIPPED / path.replace("/", "--")
    if _steps_as_the_scheduler_says(place or shipped):
        found["trajectories"] = "as the scheduler says"
    return found


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


def of_prompts(prompts: PromptSet) -> str:
    """sha256 of ids and texts; labels and clusters concern the table alone."""
    return _of_lists(prompts.ids, prompts.texts)


def of_labels(prompts: PromptSet) -> str:
    """sha256 of ids, labels and clusters, which a table depends on and what is stored does not."""
    return _of_lists(prompts.ids, prompts.labels.tolist(), prompts.clusters.tolist())


def _of_lists(*columns: Sequence[Any]) -> str:
    return sha256(json.dumps([list(column) for column in columns]).encode()).hexdigest()


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of a description, independent of the order of its entries."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of a pipeline's weights and configuration files.

    Raises:
        UserError: One of them is no regular file or cannot be read, or there are too many for the
            folder of a model.
    """
    total, files = sha256(), list(islice(folder.rglob("*"), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise UserError(f"{folder} holds more than {MOST_FILES:,} files, which no model does")
    for file in sorted(files):
        if file.suffix in (".safetensors", ".json", ".txt") and not file.is_dir():
            total.update(f"{file.relative_to(folder)} {_sha256(file)}\n".encode())
    return total.hexdigest()


def _sha256(file: Path) -> str:
    try:
        with regular(file).open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the entries in which two descriptions differ."""
    found = []
    for name in sorted({*a, *b}):
        left, right = a.get(name), b.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found.append(prefix + name)
    return found
