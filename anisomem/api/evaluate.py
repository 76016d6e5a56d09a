"""``anisomem.evaluate``: the statistics of a table, for scores from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from anisomem.api.plain import listed
from anisomem.api.report import Report
from anisomem.benchmark import given
from anisomem.datasets import labels as words
from anisomem.datasets import scored
from anisomem.datasets.cells import clusters_of
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError

Scores: TypeAlias = Mapping[str, npt.ArrayLike] | pd.DataFrame | pd.Series | npt.ArrayLike
ONE = "score"  # the name of scores that have none


def evaluate(
    labels: npt.ArrayLike,
    scores: Scores,
    clusters: npt.ArrayLike | None = None,
    fpr_targets: Sequence[float] = (0.01, 0.03),
    draws: int = 10_000,
    seed: int = 0,
) -> Report:
    """What scores achieve: AUC, TPR at low false-positive rates, intervals, every pair compared.

    Arguments:
        labels: One a prompt: 1 or ``memorized``, 0 or ``not_memorized``; prompts labelled
            ``partial`` are left out.
        scores: One number a prompt, of which larger ones mean more memorized; no sign is changed.
            Those of one detector, or of several by name: a mapping, or the columns of a frame.
        clusters: One name a prompt, which prompts share that are not independent; if not given,
            each is taken for independent, which the table says.
        fpr_targets: False-positive rates of the TPR, fractions.
        draws, seed: Of the bootstrap over clusters.

    Raises:
        UserError: Numbers that are not finite, not as many as labels, or not in their order; a
            label that means nothing, one class only, or a setting that is wrong.
    """
    cells = _cells("labels", labels)
    read = [scored.label_of(f"labels[{row}]", cell) for row, cell in enumerate(cells)]
    words.require_one_reading("evaluate", "labels", cells)
    columns = _columns(scores)
    for name, values in {**columns, "clusters": clusters}.items():
        _require_same_rows(name, labels, values)
    kept = np.array([label is not None for label in read], bool)
    numbers = {name: given.finite(name, _plain(v), len(read)) for name, v in columns.items()}
    groups = np.arange(len(read), dtype=np.int64)
    if clusters is not None:
        names = _cells("clusters", clusters)
        if len(names) != len(read):
            raise UserError(
                f"there are {len(names)} clusters and {len(read)} labels; give one a label"
            )
        groups = clusters_of([None if name is pd.NA else name for name in names])
    cautions = [*[given.INDEPENDENT] * (clusters is None), *words.left_out(read)]
    ids = [str(row) for row in np.flatnonzero(kept)]
    prompts = PromptSet(
        "given",
        ids,
        ids,
        np.array([label for label in read if label is not None], np.int8),
        groups[kept],
        ["given"] * len(ids),
        ["unknown"] * len(ids),
        cautions=cautions,
    )
    settings = {"fpr_targets": listed(fpr_targets), "draws": draws, "bootstrap_seed": seed}
    judged = {name: values[kept] for name, values in numbers.items()}
    return Report(given.results(prompts, judged, settings))


def _plain(values: Any) -> Any:
    return values.to_numpy() if isinstance(values, pd.Series) else values


def _cells(what: str, column: npt.ArrayLike) -> list[Any]:
    """A column as a list.

    Raises:
        UserError: It is none.
    """
    try:
        array = np.asarray(column, dtype=object)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(())
    if array.ndim != 1:
        raise UserError(f"{what} must be one a prompt, got an array of shape {array.shape}")
    return array.tolist()


def _columns(scores: Scores) -> dict[str, Any]:
    """Scores by name."""
    if isinstance(scores, pd.DataFrame):
        if not scores.columns.is_unique:
            again = scores.columns[scores.columns.duplicated()][0]
            raise UserError(f"the frame of scores has several columns named {str(again)!r}")
        columns = {str(name): scores[name] for name in scores.columns}
        if "label" in columns:
            raise UserError(
                "the frame of scores has a column 'label'; choose the columns of scores"
            )
        return columns
    if isinstance(scores, Mapping):
        return dict(scores)
    name = scores.name if isinstance(scores, pd.Series) else None
    return {ONE if name is None else str(name): scores}


def _require_same_rows(name: str, labels: Any, values: Any) -> None:
    """Checks that two series mean the same prompts by the same rows.

    Raises:
        UserError: Their indexes differ, so that one row of theirs is of two prompts.
    """
    both = isinstance(labels, pd.Series) and isinstance(values, pd.Series)
    if both and len(labels) == len(values) and not labels.index.equals(values.index):
        raise UserError(
            f"labels and {name!r} have different indexes; bring them into one order, or give "
            "their values, .to_numpy()"
        )
