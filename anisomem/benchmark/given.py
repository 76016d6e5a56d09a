"""Scores from anywhere, judged as those of a run are; no model is needed, and no torch.

Files of them are read in :mod:`anisomem.datasets.scored`. Tensors of the anisotropy paper's code,
of which components are known, are for ``released``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import Results
from anisomem.benchmark.unkept import UnkeptCase
from anisomem.config import compose, members
from anisomem.datasets.prompts import PromptSet
from anisomem.datasets.scored import RANK, READ
from anisomem.detection.base import Array, Component, Components, Detector, Recorded
from anisomem.errors import UserError
from anisomem.run import labelled
from anisomem.storage.memory import NOWHERE
from anisomem.storage.store import Origin

#: The settings of a table that concern scores.
SETTINGS = ("fpr_targets", "draws", "bootstrap_seed")
LONGEST = 80  # characters of a score's name
MOST = 200  # scores of a table: every pair of them is compared
UNKNOWN = "unknown"  # the model, where nobody says
INDEPENDENT = "no clusters are given, so every prompt is taken for independent of the others"
SEED = 0  # which stands for the noise that nobody tells of


@dataclass
class Given(Detector):
    """A score that somebody else has computed; its n is 0 where nobody says."""

    n: int = 0

    @property
    def sees_model(self) -> bool:
        return True  # as far as is known

    @property
    def draws_noise(self) -> bool:
        return False  # its noise was somebody else's

    def components(self) -> Components:
        return [Component(f"given[{self.key}]", [], _not_evaluated)]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.samples(self.component_names[0], 1)[:, 0]


def _not_evaluated() -> NoReturn:
    raise UserError("scores that are given cannot be evaluated for other prompts")


def results(
    prompts: PromptSet,
    scores: Mapping[str, npt.ArrayLike],
    settings: Mapping[str, Any],
    model: str = "",
) -> Results:
    """What scores achieve on labelled prompts.

    Arguments:
        prompts: N prompts.
        scores: N numbers of each detector, by its name or by the name of a table's row, such as
            ``wen, n=4``. Larger ones mean more memorized, and no sign is changed.
        settings: Of :data:`SETTINGS`; the others are as a run has them.
        model: Whose scores they are; "" where nobody says.

    Raises:
        UserError: A score that is no finite number, or not one for every prompt; a name that no
            table can have; too few prompts of a class; or a setting that is wrong.
    """
    memorized = int(prompts.labels.sum())
    labelled.require_both(prompts.name, memorized, len(prompts) - memorized)
    columns = {name: finite(name, values, len(prompts)) for name, values in scores.items()}
    detectors = [_detector(name) for name in columns]
    if not detectors:
        raise UserError("no scores are given; give one column of numbers or more")
    if len(detectors) > MOST:
        raise UserError(f"{len(detectors)} scores are given, and a table has {MOST} at most")
    keys = [detector.key for detector in detectors]
    for key in keys:
        if key.lower() in (*READ, "failure") or key.endswith(RANK):
            raise UserError(
                f"a score is named {key!r}, and a table of scores has something else under that;"
                " rename it"
            )
    if again := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"two scores are named {again!r}; rename one")
    digest = sha256("\n".join(keys).encode())
    for values in columns.values():
        digest.update(values.tobytes())
    node = {
        "_target_": "anisomem.benchmark.released.no_model",
        "scores": digest.hexdigest(),
        "stands_for": None,
    }
    usual = {name: members.constants("config")[name] for name in SETTINGS}
    config = compose.given(
        {"model": node, "seeds": [SEED], "runs": str(NOWHERE), **usual, **settings}
    )
    case = UnkeptCase(replace(config, model_name=model or UNKNOWN), detectors, prompts)
    case.store.append(
        prompts.ids,
        SEED,
        {
            detector.component_names[0]: values[:, None]
            for detector, values in zip(detectors, columns.values(), strict=True)
        },
        0.0,
        Origin(1, "not known", None, None),
    )
    made = Results(case)
    if not model:
        made.title = prompts.name
    made.measured = Measured(provenance={"imported": {"scores": digest.hexdigest()}})
    return made


def finite(name: str, values: npt.ArrayLike, count: int) -> Array:
    """Scores as numbers, ``[N]``.

    Raises:
        UserError: They are none, not finite, or not as many as there are labels.
    """
    try:
        numbers = np.asarray(values)
        if numbers.dtype.kind not in "iufO" or any(isinstance(v, str) for v in numbers.flat[:1]):
            raise TypeError
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        why = f": {str(error).splitlines()[0]}" if str(error) else ""
        raise UserError(f"the scores {name!r} must be numbers{why}") from None
    if numbers.ndim != 1:
        raise UserError(
            f"the scores {name!r} must be one number a prompt, got an array {numbers.shape}; "
            "several detectors are given by name, {'mine': ..., 'theirs': ...}"
        )
    if len(numbers) != count:
        raise UserError(
            f"{name!r} has {len(numbers)} scores, and there are {count} labels; give one score a "
            "label, in the same order"
        )
    if len(wrong := np.flatnonzero(~np.isfinite(numbers))):
        raise UserError(
            f"{len(wrong)} of {count} scores {name!r} are NaN or infinite, the first at position "
            f"{wrong[0]}; score these prompts again, or leave them out of labels and all scores"
        )
    return numbers


def _detector(name: str) -> Given:
    """The detector of a name; that of a table's row says n, too.

    Raises:
        UserError: A name that no table can have.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise UserError(f"scores need a name that can be printed, got {name!r}")
    if len(name) > LONGEST or "${" in name:
        raise UserError(
            f"scores cannot be named {name[:LONGEST]!r}; give at most {LONGEST} characters, "
            "without ${"
        )
    if row := re.fullmatch(r"(.*\S), ?n=([1-9]\d{0,3})", name.strip()):
        return Given(row[1], int(row[2]))
    return Given(name.strip())
