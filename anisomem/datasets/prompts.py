"""A set of prompts with their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError, one_of

COLUMNS = ("id", "prompt", "label", "cluster", "block", "kind")
LABELS = ("not_memorized", "partial", "memorized")


@dataclass(frozen=True)
class PromptSet:
    """Prompts in a fixed order, all sequences of length N.

    Attributes:
        name: Of the set.
        ids: Unique keys, under which components are stored.
        texts: The prompts, verbatim.
        labels: 1 = memorized, 0 = not (known to be) memorized, int8 ``[N]``.
        clusters: Prompts that are not independent (near-duplicates, shared concepts) share one;
            int64 ``[N]``. Resampling and cross-validation keep clusters whole.
        blocks: Where each prompt comes from.
        kinds: What sort of memorization the source of the prompt names.

    Raises:
        UserError: No prompts, one class only, or an empty prompt or a repeated id.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    labels: npt.NDArray[np.int8]
    clusters: npt.NDArray[np.int64]
    blocks: Sequence[str]
    kinds: Sequence[str]

    def __post_init__(self) -> None:
        missing = [
            word for value, word in ((1, "memorized"), (0, "other")) if value not in self.labels
        ]
        if missing:
            raise UserError(
                f"prompt set {self.name!r} has no {' and no '.join(missing)} prompts; a detector "
                "can only be judged on both"
            )
        if empty := [i for i, text in zip(self.ids, self.texts, strict=True) if not text.strip()]:
            raise UserError(f"prompt set {self.name!r} has an empty prompt: id {empty[0]!r}")
        if len(set(self.ids)) < len(self.ids):
            again = next(key for key, count in Counter(self.ids).items() if count > 1)
            raise UserError(f"prompt set {self.name!r} repeats an id: {again!r}; ids are unique")

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, rows: Sequence[int] | npt.NDArray[np.bool_]) -> PromptSet:
        """The prompts at ``rows`` (indices, or a mask of length N)."""
        at = np.arange(len(self))[np.asarray(rows)]
        return replace(
            self,
            ids=[self.ids[i] for i in at],
            texts=[self.texts[i] for i in at],
            labels=self.labels[at],
            clusters=self.clusters[at],
            blocks=[self.blocks[i] for i in at],
            kinds=[self.kinds[i] for i in at],
        )


def load_parquet(path: str | Path, name: str | None = None) -> PromptSet:
    """Prompts from a file laid out as the bundled models' ``prompts.parquet``.

    Columns: ``id``, ``prompt``, ``label`` (``memorized``, ``not_memorized``, or ``partial`` for
    prompts that reproduce a training picture sometimes, which are left out), ``cluster``,
    ``block``, ``kind``.

    Arguments:
        path: The file.
        name: Of the set; the file's own if not given.

    Raises:
        UserError: No such file, a missing column, or an unknown label.
    """
    import pyarrow.parquet as pq

    file = Path(path)
    if not file.is_file():
        raise UserError(f"no prompt file at {str(file)!r} (expected a .parquet file)")
    table = pq.read_table(file).to_pydict()
    if lacking := [column for column in COLUMNS if column not in table]:
        raise UserError(f"{file} lacks columns {', '.join(lacking)}; it has {', '.join(table)}")
    for label in dict.fromkeys(table["label"]):
        one_of("label", str(label), LABELS)
    settled = [i for i, label in enumerate(table["label"]) if label != "partial"]
    columns = {column: [table[column][i] for i in settled] for column in COLUMNS}
    return PromptSet(
        name or file.stem,
        columns["id"],
        columns["prompt"],
        np.array([label == "memorized" for label in columns["label"]], np.int8),
        np.array(columns["cluster"], np.int64),
        columns["block"],
        columns["kind"],
    )
