"""A set of prompts with their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError, one_of

COLUMNS = ("id", "prompt", "label", "cluster", "block", "kind")
LABELS = ("not_memorized", "partial", "memorized")

Reader = Callable[[Sequence[Any]], Any]

#: Field of a prompt set: the column it comes from where a file has it, what that holds, and how
#: it is read.
OPTIONAL: Mapping[str, tuple[str, str, Reader]] = {
    "repetitions": ("repetitions", "integers", partial(np.array, dtype=np.int64)),
    "reproduction_rates": ("reproduction_rate", "fractions", partial(np.array, dtype=np.float64)),
    "pictures": (
        "picture",
        "pictures as {bytes, path}",
        lambda cells: [cell and cell["bytes"] for cell in cells],
    ),
}


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
        repetitions: How often the prompt's one picture is in the training set, 0 where it varies;
            int64 ``[N]``, or None where the set does not say.
        reproduction_rates: Share of generated pictures that are training pictures, float64
            ``[N]``, or None.
        pictures: The memorized training pictures, encoded (PNG, JPEG), None where a prompt has
            none; or None.

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
    repetitions: npt.NDArray[np.int64] | None = None
    reproduction_rates: npt.NDArray[np.float64] | None = None
    pictures: Sequence[bytes | None] | None = None

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
        counts, rates, pictures = self.repetitions, self.reproduction_rates, self.pictures
        return replace(
            self,
            ids=[self.ids[i] for i in at],
            texts=[self.texts[i] for i in at],
            labels=self.labels[at],
            clusters=self.clusters[at],
            blocks=[self.blocks[i] for i in at],
            kinds=[self.kinds[i] for i in at],
            repetitions=None if counts is None else counts[at],
            reproduction_rates=None if rates is None else rates[at],
            pictures=None if pictures is None else [pictures[i] for i in at],
        )


def load_parquet(path: str | Path, name: str | None = None) -> PromptSet:
    """Prompts from a file laid out as the bundled models' ``prompts.parquet``.

    Columns: ``id``, ``prompt``, ``label`` (``memorized``, ``not_memorized``, or ``partial`` for
    prompts that reproduce a training picture sometimes, which are left out), ``cluster``,
    ``block``, ``kind``. A file may have more: ``repetitions`` (integers, 0 where pictures vary or
    it is unknown), ``reproduction_rate`` (fractions), and ``picture`` (the training picture as
    Hugging Face's ``Image`` stores it, bytes and path).

    Arguments:
        path: The file.
        name: Of the set; the file's own if not given.

    Raises:
        UserError: No such file, a missing column, an unknown label, or a column of the wrong type.
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
    columns = {column: [cells[i] for i in settled] for column, cells in table.items()}
    return PromptSet(
        name or file.stem,
        columns["id"],
        columns["prompt"],
        np.array([label == "memorized" for label in columns["label"]], np.int8),
        np.array(columns["cluster"], np.int64),
        columns["block"],
        columns["kind"],
        **{name: _optional(file, columns, *column) for name, column in OPTIONAL.items()},
    )


def _optional(
    file: Path, columns: Mapping[str, Sequence[Any]], column: str, expected: str, read: Reader
) -> Any:
    """What ``read`` makes of a column that a file need not have, or None.

    Raises:
        UserError: It holds something else than expected.
    """
    if column not in columns:
        return None
    try:
        return read(columns[column])
    except (TypeError, ValueError, KeyError):
        raise UserError(f"{file}: column {column} must hold {expected}") from None
