"""The prompts of a configuration: on which model their labels were established, and a part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from anisomem import catalog
from anisomem import config as configuration
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError, concerning
from anisomem.overrides import experiment

OWNER = "labels_of"  # of a dataset: the model that its labels were established on
LEAST = 2  # prompts of each class that a table needs
#: Settings that leave a table as it is.
ASIDE = {"batch_size", "dry_run", "logger", "on_failure", "paths", "runs", "tensors", "workers"}


def judged(words: Sequence[str]) -> list[DictConfig]:
    """The configurations of a command that judges by labels.

    Raises:
        UserError: As :func:`anisomem.config.composed`; or labels that were established on another
            model, where the user chose but one of the two.
    """
    found = configuration.composed(words)
    for config, keys in found:
        if not has_own(config) and not keys >= {"model", "dataset"}:
            raise _of_another(config, "dataset" if "model" in keys else "model")
    return [config for config, _ in found]


def has_own(config: DictConfig) -> bool:
    """Whether labels belong to the model, as far as is known."""
    if OmegaConf.missing_keys(config.dataset):
        return True  # nothing can be read from it, which building it says
    owner, model = config.dataset.get(OWNER), configuration.model_name(config.model)
    if owner is None or owner == model:
        return True
    # Elsewhere it is the user's word which model a folder holds.
    return model not in _members("model") and config.model.get("stands_for") == owner


def run_name(words: Sequence[str], configs: Sequence[DictConfig], usual: str, kind: str) -> str:
    """The folder below ``runs``.

    ``usual`` where nothing is chosen that changes a table; else the experiment, or where none is
    chosen model and data, so that no other run's report is overwritten.

    Arguments:
        words: The overrides, as on the command line.
        configs: What they compose to.
        usual: The name of what runs without overrides.
        kind: Behind model and data, such as "-geometry".
    """
    if chosen := experiment(words):
        return chosen
    keys = {one.key.partition(".")[0] for one in configuration.checked(words)}
    if keys <= ASIDE:
        return usual
    names = dict.fromkeys(_of_model_and_data(config) for config in configs)
    return re.sub(r"[^\w.+-]+", "_", "+".join(names)).strip(".")[:100] + kind


def whole(config: DictConfig) -> PromptSet:
    """The prompt set by itself.

    Raises:
        UserError: It cannot be had.
    """
    if missing := OmegaConf.missing_keys(config.dataset):
        raise UserError(f"dataset needs a value for {', '.join(sorted(missing))}")
    settings = OmegaConf.to_container(config.dataset, resolve=True)
    node = OmegaConf.create(
        {k: v for k, v in cast(dict[str, Any], settings).items() if k != OWNER}
    )
    place = node.get("path") or node.get("memorized")
    with concerning(f"dataset.path={place}" if place else "dataset"):
        found = configuration.build(node, "dataset")
    if not isinstance(found, PromptSet):
        raise UserError(f"dataset: {node.get('_target_')} makes no PromptSet")
    return found


def prompts(config: DictConfig) -> PromptSet:
    """The whole prompt set, which says where its labels are of another model.

    Raises:
        UserError: It cannot be had.
    """
    found = whole(config)
    if has_own(config):
        return found
    caution = (
        f"labels were established on {config.dataset[OWNER]}, and the model is "
        f"{configuration.model_name(config.model)}"
    )
    return replace(found, cautions=[*found.cautions, caution])


def require_both(name: str, memorized: int, others: int) -> None:
    """Checks that a detector can be judged on a prompt set, before anything is recorded.

    Raises:
        UserError: A class with one prompt, of which no interval can be had.
    """
    for count, word in ((memorized, "memorized"), (others, "other")):
        if count < LEAST:
            raise UserError(
                f"prompt set {name!r} has {count} {word} prompt{'s' * (count != 1)}; a detector "
                f"can only be judged on {LEAST} of each class or more"
            )


def limited(prompts: PromptSet, limit: int | None, seed: int) -> list[int]:
    r"""The rows that a limit leaves, stratified by label and block, in their order.

    Row number k of a stratum of size :math:`n_s`, in a random order, has the priority
    :math:`(k + 1/2) / n_s`; the fewest that a table needs of each label go first. So shares are
    kept to one prompt a stratum, and a larger limit adds to a smaller.

    Arguments:
        prompts: All N.
        limit: How many at most; None for all.
        seed: Of the random order.
    """
    n = len(prompts)
    if limit is None or limit >= n:
        return list(range(n))
    random = np.random.default_rng(seed).permutation(n).tolist()
    strata: dict[tuple[int, str], list[int]] = {}
    for i in random:
        strata.setdefault((int(prompts.labels[i]), prompts.blocks[i]), []).append(i)
    priority = {i: (k + 0.5) / len(rows) for rows in strata.values() for k, i in enumerate(rows)}
    order = sorted(random, key=priority.__getitem__)
    of_label = ([i for i in order if prompts.labels[i] == label] for label in (0, 1))
    first = [i for rows in of_label for i in rows[:LEAST]]
    return sorted([*first, *(i for i in order if i not in first)][:limit])


def _of_another(config: DictConfig, lacking: str) -> UserError:
    """What to give where a default would be taken."""
    owner, model = config.dataset[OWNER], configuration.model_name(config.model)
    if lacking == "model":
        data = config.dataset.name
        return UserError(
            f"the labels of {data} were established on {owner}; give model={owner} (or "
            f"model={model}, to see them on that one)"
        )
    own = [
        f"dataset={name}"
        for name, node in _members("dataset").items()
        if cast(dict[str, Any], OmegaConf.to_container(node)).get(OWNER) == model
    ]
    known = ", ".join([*own, "dataset=prompts_file dataset.path=FILE"])
    return UserError(
        f"model {model} needs a dataset, since the default's labels were established on {owner}; "
        f"give {known}"
    )


def _of_model_and_data(config: DictConfig) -> str:
    data = config.dataset
    names = [Path(configuration.model_name(config.model)).name, data.get("name")]
    if not names[1]:
        names[1] = Path(str(data.get("path") or data.get("memorized") or "prompts")).stem
    return "-".join(dict.fromkeys(names))


@cache
def _members(group: str) -> dict[str, DictConfig]:
    """The files of a group by name."""
    folder = catalog.folder() / group
    return {
        name: DictConfig(OmegaConf.load(folder / f"{name}.yaml")) for name in catalog.names(group)
    }
