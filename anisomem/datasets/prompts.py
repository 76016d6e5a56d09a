"""Prompts, and a set of them with their labels.

Nothing here reads a file: ``files``, ``published`` and ``kept`` do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

LABELS = ("not_memorized", "memorized")
LONGEST = 150  # bytes of a set's name, which begins those of its folder and figures


def plain_name(name: str) -> str:
    """The nearest name that a folder in a run's can have."""
    plain = re.sub(r"[^\w.,+()\[\] -]", "_", name.encode(errors="replace").decode())
    return plain.strip(". ").encode()[:LONGEST].decode(errors="ignore").strip(". ") or "prompts"


def _require_name(name: object) -> None:
    """Checks that a folder in a run's can be called so.

    Raises:
        UserError: It cannot; with a name that can.
    """
    if not isinstance(name, str):
        raise UserError(f"dataset.name must be a text, got {name!r}")
    if not name.isprintable() or "/" in name or len(name.encode(errors="replace")) > LONGEST:
        why = f"it has a slash, a control character or more than {LONGEST} bytes"
    elif name != name.strip(". ") or not name:
        why = "it begins or ends with a dot or blank, or is empty"
    else:
        return
    shown = repr(name) if len(name) < 60 else f"{name[:57]!r}..."
    raise UserError(
        f"a prompt set cannot be named {shown}, since folders are named after it and {why}; give "
        f"'dataset.name={plain_name(name)}'"
    )


@dataclass(frozen=True)
class Prompts:
    """Prompts in a fixed order, of which nothing else need be known.

    Attributes:
        name: The name of the set.
        ids: Unique keys, under which components are stored.
        texts: The prompts, verbatim.

    Raises:
        UserError: A name that no folder can have, an empty prompt or a repeated id.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]

    def __post_init__(self) -> None:
        _require_name(self.name)
        if empty := [i for i, text in zip(self.ids, self.texts, strict=True) if not text.strip()]:
            raise UserError(f"prompt set {self.name!r} has an empty prompt: id {empty[0]!r}")
        if len(set(self.ids)) < len(self.ids):
            again = next(key for key, count in Counter(self.ids).items() if count > 1)
            raise UserError(f"prompt set {self.name!r} repeats an id: {again!r}; ids are unique")

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class PromptSet(Prompts):
    """Prompts with their labels, all sequences of length N.

    Attributes:
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
        families: The template a prompt is made from, "" where it is of none; or None.
        urls: Addresses of the memorized training pictures; or None.
        mean_sscd, max_sscd: Mean and largest SSCD similarity of generated pictures to the
            prompt's own training picture, float64 ``[N]``, NaN where not measured; or None.
        cautions: What every table on these prompts must say.

    Raises:
        UserError: No prompts, one class only, or an empty prompt or a repeated id.
    """

    labels: npt.NDArray[np.int8]
    clusters: npt.NDArray[np.int64]
    blocks: Sequence[str]
    kinds: Sequence[str]
    repetitions: npt.NDArray[np.int64] | None = None
    reproduction_rates: npt.NDArray[np.float64] | None = None
    pictures: Sequence[bytes | None] | None = None
    families: Sequence[str] | None = None
    urls: Sequence[Sequence[str]] | None = None
    mean_sscd: npt.NDArray[np.float64] | None = None
    max_sscd: npt.NDArray[np.float64] | None = None
    cautions: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = [
            word for value, word in ((1, "memorized"), (0, "other")) if value not in self.labels
        ]
        if missing:
            raise UserError(
                f"prompt set {self.name!r} has no {' and no '.join(missing)} prompts; a detector "
                "can only be judged on both"
            )

    def subset(self, rows: Sequence[int] | npt.NDArray[np.bool_], name: str = "") -> PromptSet:
        """The prompts at ``rows`` (indices, or a mask of length N), under a name of their own."""
        at = np.arange(len(self))[np.asarray(rows)]

        def chosen(column: Any) -> Any:
            return column[at] if isinstance(column, np.ndarray) else [column[i] for i in at]

        whole = ("name", "cautions")  # of the set, not of a prompt
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in whole}
        given = {key: chosen(column) for key, column in columns.items() if column is not None}
        return replace(self, name=name or self.name, **given)

    def one_per_cluster(self) -> list[int]:
        """The rows of the first prompt of every cluster and class."""
        keys = list(zip(self.clusters.tolist(), self.labels.tolist(), strict=True))
        return sorted({key: i for i, key in reversed(list(enumerate(keys)))}.values())

    def to_dataset(self) -> Dataset:
        """The prompts as a Hugging Face dataset with explicit features.

        Adds ``tokens``, CLIP's count without the marks of beginning and end, and ``truncated``,
        whether they are more than the 75 that fit.
        """
        from datasets import ClassLabel, Dataset, Features, Image, List, Value

        from anisomem.datasets import tokens

        counts = tokens.count(self.texts)
        text, number = Value("string"), Value("float64")
        pictures = [p and {"bytes": p} for p in self.pictures or []] or None
        columns: dict[str, tuple[Any, Any]] = {
            "id": (text, self.ids),
            "prompt": (text, self.texts),
            "label": (ClassLabel(names=list(LABELS)), self.labels),
            "cluster": (Value("int64"), self.clusters),
            "block": (text, self.blocks),
            "kind": (text, self.kinds),
            "tokens": (Value("int32"), counts),
            "truncated": (Value("bool"), counts > tokens.ROOM),
            "repetitions": (Value("int64"), self.repetitions),
            "reproduction_rate": (number, self.reproduction_rates),
            "picture": (Image(), pictures),
            "family": (text, self.families),
            "urls": (List(text), self.urls),
            "mean_sscd": (number, self.mean_sscd),
            "max_sscd": (number, self.max_sscd),
        }
        given = {name: column for name, column in columns.items() if column[1] is not None}
        features = Features({name: feature for name, (feature, _) in given.items()})
        return Dataset.from_dict({n: list(cells) for n, (_, cells) in given.items()}, features)
