"""A board as Markdown, with what stands below its table."""

from __future__ import annotations

from collections.abc import Sequence

from anisomem.board.cards import RATE, Card, Origin
from anisomem.report import escape
from anisomem.report.table import Table

ABOUT = (
    "Every detector on every model and prompt set that somebody has run. Larger scores mean more"
    " memorized, no sign is fitted, and numbers of different prompts or models are no contest."
)
NOTES = (
    "Brackets: 95% intervals, bootstrap over clusters of related prompts.",
    "Published: by its source, with the spread over noise seeds behind ± where that is reported."
    " Reproduced: the published number lies in our 95% interval. Not comparable: the source reads"
    " the TPR off the ROC curve by another rule, which has another value on our scores, or our"
    " number of prompts does not resolve it.",
    "NFE: network evaluations per prompt, beside those without a prompt, which all prompts share;"
    " JVP: directional derivatives. s: median seconds for ten prompts, detector alone, on the"
    " machine of its run, so seconds of different runs are no comparison.",
    "Checked, packet: every number was computed again from the recorded rows, without the model."
    " Checked, run: the numbers are those of the run's own files.",
)


def table(cards: Sequence[Card]) -> Table:
    """All cards, a line each."""
    headings = ["model", "prompt set", "detector", "n", "AUC", "published", "TPR@1%FPR"]
    headings += ["published TPR", "NFE", "s", "checked", "from"]
    return Table("Board", headings, [_cells(card) for card in cards], NOTES)


def _cells(card: Card) -> list[str]:
    return [
        card.model,
        card.prompts,
        card.detector,
        str(card.n or "–"),
        measured(card, "auc"),
        reported(card, "auc"),
        measured(card, RATE),
        reported(card, RATE),
        card.cost_text,
        seconds(card),
        checked(card.origin),
        card.origin.place,
    ]


def measured(card: Card, statistic: str) -> str:
    """A measured number with its interval, or why there is none."""
    if card.refused:
        return "not scored" if statistic == "auc" else "–"
    number = card.measured[statistic]
    return number.text if number else "not resolvable"


def reported(card: Card, statistic: str) -> str:
    """What is published, with what came of it."""
    if card.reported is None:
        return "not stated"
    every = card.reported[statistic]
    return "; ".join(f"{one.number} ({one.verdict})" for one in every) or "–"


def seconds(card: Card) -> str:
    """Seconds for ten prompts."""
    return "–" if card.seconds is None else f"{card.seconds:.3f}"


def checked(origin: Origin) -> str:
    """What the numbers rest on, in a word."""
    return "packet" if origin.checked else "run"


def origins(cards: Sequence[Card]) -> list[Origin]:
    """Where the cards come from, once each."""
    found: list[Origin] = []
    for card in cards:
        if card.origin not in found:
            found.append(card.origin)
    return found


def markdown(cards: Sequence[Card]) -> str:
    """The board as Markdown: the table, what its words mean, and where its cards come from."""
    lines = [f"# Board\n\n{escape.markdown_line(ABOUT)}\n\n{table(cards).markdown()}"]
    sources = dict.fromkeys(
        f"- {escape.markdown_line(one.source)}"
        for card in cards
        for every in (card.reported or {}).values()
        for one in every
    )
    if sources:
        lines.append("## Published numbers\n\n" + "\n".join(sources) + "\n")
    lines.append("## Where the cards come from\n")
    for origin in origins(cards):
        told = "; ".join(f"{name} {value}" for name, value in origin.facts)
        about = f"{origin.place}, {origin.case}: {checked(origin)}; {told}"
        lines.append(f"- {escape.markdown_line(about)}")
    return "\n".join(lines) + "\n"
