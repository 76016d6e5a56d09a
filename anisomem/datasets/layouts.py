"""Published files of prompts that are read as they are, known by their headings.

``files`` finds the columns of any table by our names; these have others for the same things.
A heading is taken for another only where all of a layout's are there, so that no column of a
user's is guessed at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """A published table.

    Attributes:
        source: Whose it is, in words.
        headings: All headings that it has; it may have no other but :attr:`more`.
        columns: Our names to its headings, where they differ.
        more: Headings that it may have besides.
    """

    source: str
    headings: frozenset[str]
    columns: Mapping[str, str]
    more: frozenset[str] = frozenset()

    def fits(self, headings: Collection[str]) -> bool:
        """Whether a table's headings are its own."""
        return self.headings <= set(headings) <= self.headings | self.more


NEMO = {"prompt": "Caption", "urls": "URL"}
WEN = {"prompt": "caption", "urls": "url"}
LAYOUTS = (
    Layout(
        "laid out as NeMo's memorized_laion_prompts.csv",
        frozenset({"", "Caption", "URL", "type", "mean_sscd", "max_sscd", "Index"}),
        {**NEMO, "kind": "type"},
    ),
    Layout(
        "laid out as NeMo's unmemorized_laion_prompts.csv and coco2014_val_10000.csv",
        frozenset({"", "Caption", "URL", "Index"}),
        NEMO,
    ),
    Layout(
        "laid out as Wen's sdv1_500_memorized.jsonl",
        frozenset({"caption", "index", "url"}),
        {**WEN, "kind": "overfit_type"},
        frozenset({"overfit_type"}),
    ),
    Layout("laid out as MemBench's SD1_final.csv", frozenset({"", "prompt", "urls"}), {}),
)


def of(headings: Collection[str]) -> Mapping[str, str]:
    """Our names to those of a table's headings that are not ours; none where no layout fits."""
    columns = next((one.columns for one in LAYOUTS if one.fits(headings)), {})
    return {ours: theirs for ours, theirs in columns.items() if theirs in headings}


def known(headings: Collection[str]) -> str:
    """Whose a table is by its headings, in words; "" where no layout fits."""
    return next((one.source for one in LAYOUTS if one.fits(headings)), "")
