"""Which runs share a store: a versioned digest over everything that changes a recorded number."""

import json
from collections.abc import Mapping, Sequence
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any

from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError

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
        sources: Digests of code that is not this package's, see :func:`anisomem.own.sources`.
    """
    model = {k: v for k, v in settings["model"].items() if k not in OUTSIDE_MODEL}
    if (folder := Path(str(model.get("path", "")))).is_dir() and "path" in model:
        # What lies in a local folder counts, not where the folder lies.
        model["path"] = fingerprint(folder)
    return {
        "version": VERSION,
        **{name: settings[name] for name in INSIDE - {"model"}},
        "model": model,
        "components": dict(components),
        "prompts": of_prompts(prompts),
        **({"references": list(references)} if references else {}),
        **({"sources": dict(sources)} if sources else {}),
    }


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
        UserError: One must not be read, or there are too many for the folder of a model.
    """
    total, files = sha256(), list(islice(folder.rglob("*"), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise UserError(f"{folder} holds more than {MOST_FILES:,} files, which no model does")
    for file in sorted(files):
        # A pipe is no file: one would wait for ever for what it says.
        if file.suffix in (".safetensors", ".json", ".txt") and file.is_file():
            try:
                with file.open("rb") as stream:
                    content = file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise UserError(f"cannot read {file}: {error.strerror}") from None
            total.update(f"{file.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()


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
