"""What the words in a column of labels mean.

Columns and files are found in ``files`` and ``places``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from anisomem.errors import UserError

#: Words, without blanks, hyphens and underscores.
WORDS: Mapping[str, int | None] = {
    **dict.fromkeys(("memorized", "memorised", "mem", "true", "yes", "pos", "positive"), 1),
    **dict.fromkeys(
        (
            *(f"{no}{word}" for no in ("un", "not", "non") for word in ("memorized", "memorised")),
            *("nmem", "nonmem", "notmem", "nomem", "unmem"),
            *("false", "no", "neg", "negative"),
        ),
        0,
    ),
    "partial": None,  # reproduces a picture sometimes, and is left out
}
NUMBERS = {"1": 1, "0": 0, "-1": 0}
EXPECTED = (
    "1, true, yes, pos, memorized or mem; 0, -1, false, no, neg, not_memorized, non-memorized, "
    "unmemorized or nmem; or partial, which is left out"
)


def meaning(where: str, cell: object) -> int | None:
    """1, 0, or None for a prompt that is left out.

    Raises:
        UserError: It means nothing. No word is suggested: the nearest may be the opposite.
    """
    given = number(cell) or word(cell)
    if given not in NUMBERS and given not in WORDS:
        raise UserError(f"{where}: no label named {_said(cell)}; expected {EXPECTED}")
    return NUMBERS[given] if given in NUMBERS else WORDS[given]


def left_out(settled: Sequence[int | None]) -> list[str]:
    """A caution where labels leave prompts out."""
    count = sum(label is None for label in settled)
    return [f"{count} of {len(settled)} prompts left out, labelled partial"] * (count > 0)


def number(cell: object) -> str:
    """``1``, ``0`` or ``-1`` however it is written, or "" for something else."""
    given = str(cell).strip().replace("\u2212", "-")
    if match := re.fullmatch(r"\+?(-?[01])(\.0*)?", given):
        return match[1].replace("-0", "0")
    return ""


def word(cell: object) -> str:
    """A label or a heading as in :data:`WORDS`."""
    return re.sub(r"(?<=[a-z])[\s_-]+(?=[a-z])", "", str(cell).strip().lower())


def require_one_reading(source: str, heading: str, cells: Sequence[object]) -> None:
    """Checks that numbers in a column of labels have one meaning.

    Raises:
        UserError: Both 0 and -1 stand in it, or its heading says the opposite of memorized.
    """
    numbers = {number(cell) for cell in cells}
    if {"0", "-1"} <= numbers:
        raise UserError(
            f"{source}: column {heading} has the labels 0 and -1; one of them is for other prompts"
        )
    opposite = WORDS.get(word(heading).removeprefix("is"), 1) == 0
    if (opposite and numbers & NUMBERS.keys()) or (opposite and _answers(cells)):
        raise UserError(
            f"{source}: column {heading} seems to say the opposite of memorized; give a column in "
            "which 1 is memorized, or words"
        )


def _answers(cells: Sequence[object]) -> bool:
    return any(word(cell) in ("true", "false", "yes", "no") for cell in cells)


def _said(cell: object) -> str:
    return repr(str(cell)) if len(str(cell)) <= 40 else f"{str(cell)[:40]!r}..."
