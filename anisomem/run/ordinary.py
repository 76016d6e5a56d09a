"""Prompts outside a set that a detector may take as ordinary.

The prompts of the run are in ``labelled``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anisomem.config import compose
from anisomem.config.catalog import BUNDLED, VARIANTS, references
from anisomem.config.schema import Config
from anisomem.datasets import files, places
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.run import labelled
from anisomem.storage.foreign import located

HUB = "gustavosta"


def draw(config: Config, prompts: PromptSet) -> list[str]:
    """``references.count`` prompts that are not in the set, by the seed alone.

    A file is read as a list of prompts that are not memorized, see :mod:`anisomem.datasets.files`.

    Raises:
        UserError: No such file or prompt set, or too few prompts in it.
    """
    source = config.references.prompts or default(config.model.get("path"))
    if Path(source).is_file() or places.is_list(source):
        texts = files.texts(source)
    else:
        data = [f"paths.data={config.paths.data}"] if config.paths.data else []
        chosen = compose.cases([f"dataset={source}", *data])[0]
        others = labelled.whole(chosen)
        texts = [t for t, label in zip(others.texts, others.labels, strict=True) if not label]
    known = set(prompts.texts)
    free = [text for text in dict.fromkeys(texts) if text.strip() and text not in known]
    count = config.references.count
    if len(free) < count:
        raise UserError(
            f"references.count is {count}, and {source!r} has {len(free)} prompts that are not in "
            f"{prompts.name!r}"
        )
    rng = np.random.default_rng(config.references.seed)
    return [free[i] for i in rng.permutation(len(free))[:count]]


def default(model: str | None) -> str:
    """The file or prompt set that they come from if the user names nothing."""
    place = located(model)
    if place is None or place.resolve().parent != BUNDLED:
        return HUB
    variant = place.resolve().name
    return str(references(variant)) if variant in VARIANTS else HUB
