"""The prompts of a configuration: on which model their labels were established, and a part.

The set itself is read in :mod:`anisomem.datasets`; ordinary prompts beside it are in ``ordinary``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anisomem.config import compose, members, schema
from anisomem.config.build import build
from anisomem.config.overrides import experiment
from anisomem.config.schema import Config
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError, concerning

OWNER = "labels_of"  # of a dataset: the model that its labels were established on
LEAST = 2  # prompts of each class that a table needs
#: Settings that leave a table as it is.
ASIDE = {
    *("batch_size", "devices", "dry_run", "engine", "logger", "on_failure", "paths", "runs"),
    *("tensors", "workers"),
}


def judged(words: Sequence[str]) -> list[Config]:
    """The configurations of a command that judges by labels.

    Raises:
        UserError: For the reasons of :func:`anisomem.config.compose.composed`; or labels that were
            established on another model, where the user chose but one of the two.
    """
    composed = compose.composed(words)
    for config, keys in composed:
        if not has_own(config) and not keys >= {"model", "dataset"}:
            raise _of_another(config, "dataset" if "model" in keys else "model")
    return [config for config, _ in composed]


def has_own(config: Config) -> bool:
    """Whether labels belong to the model, as far as is known."""
    if schema.missing(config.dataset):
        return True  # nothing can be read from it, which building it says
    owner, model = config.dataset.get(OWNER), config.model_name
    if owner is None or owner in (model, config.model_listed):
        return True
    if config.model.get("adapters"):
        return False
    # Elsewhere it is the user's word which model a folder holds.
    listed = config.model_listed or model in members.members("model")
    return not listed and config.model.get("stands_for") == owner


def run_name(words: Sequence[str], configs: Sequence[Config], usual: str, kind: str) -> str:
    """The folder below ``runs``.

    ``usual`` where nothing is chosen that changes a table; else the experiment, or where none is
    chosen model and data, so that no report of others is overwritten. Files of one name share it,
    and each keeps what was recorded.

    Arguments:
        words: The overrides, as on the command line.
        configs: What they compose to.
        usual: The name of what runs without overrides.
        kind: A word behind model and data, such as "-geometry".
    """
    if chosen := experiment(words):
        return chosen
    keys = {one.key.partition(".")[0] for one in compose.checked(words)}
    if keys <= ASIDE:
        return usual
    names = dict.fromkeys(_of_model_and_data(config) for config in configs)
    return re.sub(r"[^\w.+-]+", "_", "+".join(names)).strip(".")[:100] + kind


def whole(config: Config) -> PromptSet:
    """The prompt set by itself.

    Raises:
        UserError: It cannot be had.
    """
    node = {name: value for name, value in config.dataset.items() if name != OWNER}
    if missing := schema.missing(node, "dataset."):
        raise UserError(f"dataset needs a value for {', '.join(missing)}")
    place = node.get("path") or node.get("memorized")
    with concerning(f"dataset.path={place}" if place else "dataset"):
        prompts = build(node, "dataset")
    if not isinstance(prompts, PromptSet):
        raise UserError(f"dataset: {node.get('_target_')} makes no PromptSet")
    return prompts


def prompts(config: Config) -> PromptSet:
    """The whole prompt set, which says where its labels are of another model.

    Raises:
        UserError: It cannot be had.
    """
    whole_set = whole(config)
    if has_own(config):
        return whole_set
    caution = (
        f"labels were established on {config.dataset[OWNER]}, and the model is {config.model_name}"
    )
    return replace(whole_set, cautions=[*whole_set.cautions, caution])


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
        seed: The seed of the random order.
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


def _of_another(config: Config, lacking: str) -> UserError:
    """What to give where a default would be taken."""
    owner, model = config.dataset[OWNER], config.model_listed or config.model_name
    if lacking == "model":
        data = config.dataset.get("name")
        return UserError(
            f"the labels of {data} were established on {owner}; give model={owner} (or "
            f"model={model}, to see them on that one)"
        )
    own = [
        f"dataset={name}"
        for name, node in members.members("dataset").items()
        if node.get(OWNER) == model
    ]
    known = ", ".join([*own, "dataset=prompts_file dataset.path=FILE"])
    return UserError(
        f"model {model} needs a dataset, since the default's labels were established on {owner}; "
        f"give {known}"
    )


def _of_model_and_data(config: Config) -> str:
    data = config.dataset
    place = Path(str(data.get("path") or data.get("memorized") or "prompts"))
    names = [Path(config.model_name).name, str(data.get("name") or place.stem)]
    return "-".join(dict.fromkeys(names))
