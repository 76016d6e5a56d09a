"""The board's page: one file that needs no network, to be sorted and filtered."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from anisomem.board import listed, pareto
from anisomem.board.cards import RATE, Card, Reported
from anisomem.console import progress
from anisomem.report import page
from anisomem.report.attempt import attempt


@dataclass(frozen=True)
class Line:
    """A card as the page shows it.

    Attributes:
        card: The card.
        auc, rate, seconds: Its numbers as text.
        auc_reported, rate_reported: What is published of them; None where the card does not say.
        published: What the filter of published numbers knows it by, words with a blank between.
        origin: The number of its origin on the page.
        checked: What its numbers rest on.
    """

    card: Card
    auc: str
    rate: str
    seconds: str
    auc_reported: Sequence[Reported] | None
    rate_reported: Sequence[Reported] | None
    published: str
    origin: int
    checked: str


def html(cards: Sequence[Card]) -> str:
    """The page of a board.

    Arguments:
        cards: Its cards; one at least.
    """
    from markupsafe import Markup

    origins = listed.origins(cards)
    own = files("anisomem.board")
    shared = {
        name: Markup(own.joinpath(file).read_text(encoding="utf-8"))
        for name, file in (("board_css", "board.css"), ("board_script", "board.js"))
    }
    return page.rendered(
        "anisomem.board",
        "board.html.j2",
        **shared,
        about=listed.ABOUT,
        notes=listed.NOTES,
        lines=[_line(card, origins.index(card.origin)) for card in cards],
        models=_names(card.model for card in cards),
        prompts=_names(card.prompts for card in cards),
        figures=_figures(cards),
        caption=pareto.CAPTION,
        origins=[(one, listed.checked(one)) for one in origins],
    )


def _names(every: Any) -> list[str]:
    return sorted(set(every))


def _line(card: Card, origin: int) -> Line:
    reported = card.reported
    every = [one for part in (reported or {}).values() for one in part]
    words = {one.verdict.replace(" ", "-") for one in every}
    if reported is not None and not every:
        words = {"none"}
    return Line(
        card,
        listed.measured(card, "auc"),
        listed.measured(card, RATE),
        listed.seconds(card),
        None if reported is None else reported["auc"],
        None if reported is None else reported[RATE],
        " ".join(sorted(words)),
        origin,
        listed.checked(card.origin),
    )


def _figures(cards: Sequence[Card]) -> list[Mapping[str, str]]:
    """A picture of every model and prompt set, as the page holds it."""
    groups: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        groups.setdefault((card.model, card.prompts), []).append(card)
    drawn: list[Mapping[str, str]] = []
    chosen = [(of, every) for of, every in groups.items() if pareto.priced(every)]
    for (model, prompts), every in progress.over(chosen, "drawing", "figure"):
        title = f"{model} on {prompts}"
        content = attempt(f"figure of {title}", partial(_drawn, title, every))
        if content is not None:
            drawn.append({"model": model, "prompts": prompts, "title": title, "data": content})
    return drawn


def _drawn(title: str, cards: Sequence[Card]) -> str:
    return b64encode(pareto.png(pareto.pareto(title, cards))).decode()
