"""A set of prompts with their labels, and the bundled one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError


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
            raise UserError(f"prompt set {self.name!r} repeats an id; ids must be unique")

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


def testbed_folder(variant: str) -> Path:
    """The folder of a bundled model, which also holds its prompts."""
    return Path(__file__).parent.parent / "testbed" / variant


def load_testbed(variant: str) -> PromptSet:
    """The bundled model's prompts whose label generation has settled.

    Those that reproduce a training picture sometimes ("partial") are left out; they are in
    ``prompts.parquet`` with their measured rates.

    Arguments:
        variant: ``epsilon`` or ``velocity``.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(testbed_folder(variant) / "prompts.parquet").to_pydict()
    settled = [i for i, label in enumerate(table["label"]) if label != "partial"]

    def column(name: str) -> list[str]:
        return [table[name][i] for i in settled]

    return PromptSet(
        f"testbed_{variant}",
        column("id"),
        column("prompt"),
        np.array([label == "memorized" for label in column("label")], np.int8),
        np.array(column("cluster"), np.int64),
        column("block"),
        column("kind"),
    )
