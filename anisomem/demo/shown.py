"""The parts of an answer as a page shows them; texts are made safe by the templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

import numpy as np

from anisomem.demo import figures
from anisomem.demo.answer import Demo, Generated, Mitigated, Scored, Word
from anisomem.demo.known import Near
from anisomem.demo.verdict import Verdict
from anisomem.report import page
from anisomem.report.tables import percent
from anisomem.tradeoff.one_prompt import Outcome

PACKAGE = "anisomem.demo"


@dataclass(frozen=True)
class Tile:
    """A picture with a line below it.

    Attributes:
        picture: A PNG in base64.
        alt: What it is, for who does not see it.
        text: The line.
    """

    picture: str
    alt: str
    text: str


@dataclass(frozen=True)
class Line:
    """A row of the table of before and after.

    Attributes:
        name: What is compared.
        before, after: The values as text.
    """

    name: str
    before: str
    after: str


def heading(demo: Demo) -> str:
    """What the page is about, as HTML."""
    return page.rendered(
        PACKAGE,
        "heading.j2",
        model=demo.name,
        ordinary=len(demo.ordinary.texts),
        known=len(demo.known) if demo.known else 0,
    )


def waiting(text: str) -> str:
    """A line in the place of what is not there yet, as HTML."""
    return page.rendered(PACKAGE, "waiting.j2", text=text)


def verdict(demo: Demo, scored: Scored, detector: str, rate: float) -> str:
    """The verdict of a detector, with the scores of all among ordinary ones, as HTML.

    Raises:
        UserError: As of :meth:`Demo.verdict`.
    """
    chosen = demo.verdict(scored, detector, rate)
    every = demo.verdicts(scored, rate)
    return page.rendered(
        PACKAGE,
        "verdict.j2",
        chosen=chosen,
        verdicts=every,
        rate=percent(rate),
        truth=scored.truth,
        colour=figures.colour(chosen),
        figure=figures.distributions(demo.ordinary, scored.prompt, every),
        alt=_in_words(every),
        seconds=f"{scored.seconds:.2f}",
    )


def _in_words(verdicts: Sequence[Verdict]) -> str:
    """What the figure of the scores shows."""
    parts = (f"{one.detector}: {one.above} of {one.of} score higher" for one in verdicts)
    return f"Histograms of ordinary prompts' scores with this prompt's. {'; '.join(parts)}."


def pictures(demo: Demo, scored: Scored, generated: Generated) -> str:
    """Generated pictures beside training pictures, and the alignment map, as HTML."""
    made = generated.sampled.pictures
    limit = max(demo.ordinary.cosine, float(np.nanmax(np.abs(scored.cosines))))
    return page.rendered(
        PACKAGE,
        "pictures.j2",
        pairs=_pairs(demo, made, generated.nearest),
        known=len(demo.known) if demo.known else 0,
        meaning=demo.known.measure.meaning if demo.known else "",
        quantity=demo.known.measure.quantity if demo.known else "",
        small=figures.is_small(made[0]),
        first=figures.shown(made[0]),
        map=figures.aligned(made[0], scored.cosines, limit),
        limit=f"{limit:.2f}",
        mean=f"{scored.cosines.mean():+.3f}",
        scale=figures.scale(),
        steps=generated.sampled.steps,
        seconds=f"{generated.sampled.seconds:.1f}",
        seeds=f"{demo.seeds[0]} to {demo.seeds[-1]}",
    )


def _pairs(demo: Demo, made: np.ndarray, nearest: Sequence[Near]) -> list[list[Tile]]:
    """Each generated picture, with the training picture that is nearest to it."""
    pairs: list[list[Tile]] = []
    for i, picture in enumerate(made):
        seed = demo.seeds[i]
        tiles = [Tile(figures.shown(picture), f"generated from seed {seed}", f"seed {seed}")]
        if nearest:
            near = nearest[i]
            said = f"nearest training picture, {near.caption or 'without caption'}"
            tiles.append(Tile(figures.shown(near.picture), said, f"{near.distance:.3f}"))
        pairs.append(tiles)
    return pairs


def words(some: Sequence[Word], detector: str) -> str:
    """Which words matter, as HTML."""
    known = [abs(one.change) for one in some if isfinite(one.change)]
    most = max(known, default=0.0) or 1.0
    digits = max(0, 2 - floor(log10(most)))
    rows = [
        {
            "text": one.text,
            "change": f"{one.change:+.{digits}f}" if isfinite(one.change) else "–",
            "share": f"{abs(one.change) / most:.2f}" if isfinite(one.change) else "0",
            "raises": isfinite(one.change) and one.change > 0,
        }
        for one in some
    ]
    return page.rendered(PACKAGE, "words.j2", rows=rows, detector=detector)


def mitigated(demo: Demo, result: Mitigated) -> str:
    """The pictures before and after, and what it changed and cost, as HTML."""
    before, after = result.before, result.after
    quantity = demo.known.measure.quantity if demo.known else ""
    return page.rendered(
        PACKAGE,
        "mitigated.j2",
        small=figures.is_small(after[0].picture),
        label=after[0].label,
        source=after[0].source,
        notes=list(dict.fromkeys(one.effort.note for one in after if one.effort.note)),
        text=after[0].text if after[0].text != before[0].text else "",
        groups={
            "before": _row(before, result.nearest_before),
            "after": _row(after, result.nearest_after),
        },
        quantity=quantity,
        lines=_compared(result, quantity),
        cost=_cost(before, after),
    )


def _row(outcomes: Sequence[Outcome], nearest: Sequence[Near]) -> list[Tile]:
    """The pictures of one way, each with how near a training picture is."""
    said = [f"{one.distance:.3f}" for one in nearest] or [""] * len(outcomes)
    return [
        Tile(figures.shown(one.picture), f"picture {i + 1}, {one.label}", text)
        for i, (one, text) in enumerate(zip(outcomes, said, strict=True))
    ]


def _compared(result: Mitigated, quantity: str) -> list[Line]:
    """What was changed, means over the pictures."""
    ways = (result.before, result.after)
    named = {
        "anisotropy metric, on the pictures' noise": "metric",
        "anisotropy metric, on other noise": "metric_held_out",
        "Wen's norm, on the pictures' noise": "wen",
        "Wen's norm, on other noise": "wen_held_out",
    }

    def mean(name: str) -> Iterator[str]:
        for way in ways:
            yield f"{np.mean([getattr(one.scores, name) for one in way]):.3g}"

    lines = [Line(title, *mean(name)) for title, name in named.items()]
    if quantity:
        nearest = (result.nearest_before, result.nearest_after)
        means = (f"{np.mean([one.distance for one in way]):.3f}" for way in nearest)
        lines.append(Line(f"{quantity} to the nearest training picture", *means))
    for name in ("embeddings", "noise"):
        shares = (f"{np.mean([getattr(one, name) for one in way]):.1%}" for way in ways)
        lines.append(Line(f"{name} moved", *shares))
    return lines


def _cost(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[Line]:
    """What it took for all pictures, as ``anisomem generate`` says it for one."""
    ways = (before, after)
    lines = [
        Line(title, *(str(sum(getattr(one.effort, name) for one in way)) for way in ways))
        for title, name in (
            ("iterations", "iterations"),
            ("NFE, without sampling", "nfe"),
            ("gradients", "backward"),
        )
    ]
    seconds = (f"{sum(one.seconds for one in way):.1f}" for way in ways)
    return [*lines, Line("seconds, with sampling", *seconds)]
