"""The page of a scan: flagged prompts first, with what the numbers mean. One file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anisomem.datasets.training_folder import shown as name_of
from anisomem.errors import UserError
from anisomem.report import page
from anisomem.report.tables import percent
from anisomem.scan import leaks, tables
from anisomem.scan.found import Found
from anisomem.scan.leaks import Leaks
from anisomem.scan.pictures import Pictures, read

LIMITS = (
    "p and q hold for prompts that are like the calibration unless they are memorized. Prompts of"
    " another kind (longer, in another language, near the training set) may stand out for that"
    " alone; calibrate with prompts of the same kind that were surely not trained on.",
    "A prompt that is not flagged is not shown to be safe: a detector misses some, and few"
    " ordinary prompts resolve few flags.",
    "A score is of the prompt as written; other words for the same picture score otherwise.",
    "Near duplicates (one cluster) are not independent findings.",
    "Scores move in their last digits with batch size, precision and hardware.",
)

LONGEST = 1_000  # characters of a prompt on the page
LEAKING, SMALL = 50, 128  # training pictures in the page's table, and their pixels


@dataclass(frozen=True)
class Training:
    """A training picture as the page shows it.

    Attributes:
        name: Its path in the folder.
        picture: A PNG in base64; None where its file cannot be read any more.
        near: How near it is, in words.
        caption: What stands beside it, "" where nothing does.
        prompt: The prompt whose picture is nearest to it.
        times: To how many generated pictures it is the nearest.
    """

    name: str
    picture: str | None
    near: str
    caption: str
    prompt: str = ""
    times: int = 0


@dataclass(frozen=True)
class Line:
    """A prompt as the page shows it.

    Attributes:
        place: Its rank.
        flagged: Whether it is flagged.
        cells: What the table shows of it.
        text: The prompt.
        pictures: What the model makes of it, PNGs in base64.
        nearest: The nearest training picture, where there are training pictures.
    """

    place: int
    flagged: bool
    cells: Sequence[str]
    text: str
    pictures: Sequence[str]
    nearest: Training | None


def html(found: Found, cluster: Any, histogram: Path | None) -> str:
    """The page.

    Arguments:
        found: What was found.
        cluster: The cluster of every distinct prompt.
        histogram: The figure's file, where it could be drawn.
    """
    scan, config = found.scan, found.scan.config
    shown = found.order[: config.scan.shown].tolist()
    leaked = leaks.read(found)
    beside = _beside(found, leaked) if leaked else {}
    headings, lines = _lines(found, cluster, shown, read(found), beside)
    flagged = int(found.flagged.sum())
    return page.rendered(
        "anisomem.scan",
        "scan.html.j2",
        title=f"Scan: {scan.title}",
        counts=tables.counts(found),
        headings=headings,
        lines=lines,
        left_out=found.count - len(lines),
        meanings=_meanings(found, leaked),
        histogram=page.embedded(histogram) if histogram else None,
        flagged=flagged,
        fdr=percent(config.fdr),
        limits=LIMITS,
        identity=scan.identity[:10],
        unread=scan.listed.unread[:100],
        settings=config.text,
        pictured=[line for line in lines if line.pictures],
        leaking=_leaking(found, leaked) if leaked else [],
        quantity=leaked.measure.quantity if leaked else "",
        trained=leaks_in_words(leaked) if leaked else "",
        lost=list(leaked.unread.values())[:100] if leaked else [],
        lost_count=len(leaked.unread) if leaked else 0,
    )


def _lines(
    found: Found,
    cluster: Any,
    shown: Sequence[int],
    pictures: Pictures | None,
    beside: Mapping[int, Training],
) -> tuple[list[str], list[Line]]:
    listed, first = found.scan.listed, tables.first_ids(found)
    scores: dict[str, Any] = dict(found.scores.values)
    scores |= {one.detector: one.scores for one in found.confirmed}
    made: Mapping[int, Sequence[str]] = {}
    if pictures:
        made = {
            row: [page.picture(Image.fromarray(one)) for one in some]
            for row, some in zip(pictures.rows, pictures.pictures, strict=True)
        }
    decides, *others = scores
    headings = ["rank", "flagged", "prompt", decides, "p", "q", "times", "cluster", "id", *others]
    lines = []
    for place, i in enumerate(shown, 1):
        cells = [
            str(place),
            "yes" if found.flagged[i] else "no",
            _shortened(listed.texts[i]),
            _score(scores[decides][i]),
            f"{found.p[i]:.3g}",
            f"{found.q[i]:.3g}",
            str(listed.times[i]),
            str(cluster[i]),
            _shortened(first[i]),
            *(_score(scores[key][i]) for key in others),
        ]
        text = _shortened(listed.texts[i])
        nearest = beside.get(i)
        lines.append(Line(place, bool(found.flagged[i]), cells, text, made.get(i, ()), nearest))
    return headings, lines


def _beside(found: Found, leaked: Leaks) -> dict[int, Training]:
    """The nearest training picture of each prompt with generated ones, by its row."""
    captions = leaked.folder.captions(
        [leaked.folder.names[i] for p in range(len(leaked.rows)) for i in leaked.nearest_of(p)]
    )
    beside = {}
    for p, row in enumerate(leaked.rows):
        if not (some := leaked.nearest_of(p)):
            continue
        names = [leaked.folder.names[i] for i in some]
        distances = leaked.distances[p]
        near = f"{leaked.measure.quantity} {_score(distances[0])}"
        if len(some) > 1:
            near += f", next {_score(distances[1])}"
        text = found.scan.text_of(row)
        own = [k for k, name in enumerate(names, 1) if leaks.same(captions.get(name, ""), text)]
        caption = captions.get(names[0], "")
        if own:
            near += f"; rank of its own picture {own[0]}"
        elif caption:
            near += f"; none of the nearest {len(names)} has this caption"
        beside[row] = Training(name_of(names[0]), _shown(leaked, some[0]), near, caption)
    return beside


def _leaking(found: Found, leaked: Leaks) -> list[Training]:
    """The training pictures that leak most."""
    order = leaked.order[:LEAKING]
    captions = leaked.folder.captions([leaked.folder.names[i] for i in order])
    lines = []
    for i in order:
        name, of = leaked.folder.names[i], leaks.prompt_of(leaked, i)
        prompt = _shortened(found.scan.text_of(of[0])) if of else ""
        caption, times = captions.get(name, ""), int(leaked.found.times[i])
        near = _score(leaked.closest[i])
        lines.append(
            Training(
                name_of(name), _shown(leaked, i, SMALL), near, _shortened(caption), prompt, times
            )
        )
    return lines


def leaks_in_words(leaked: Leaks) -> str:
    """How near training pictures are on the whole, which the nearest are to be compared with."""
    order = leaked.order
    middle = _score(float(np.median(leaked.closest[order]))) if order else "–"
    generated = len(leaked.rows) * leaked.each
    return (
        f"{len(order):,} training pictures were compared with {generated:,} generated ones; the "
        f"median {leaked.measure.quantity} to the nearest of these is {middle}."
    )


def _shown(leaked: Leaks, i: int, side: int = page.SIDE) -> str | None:
    """A training picture, no side longer than so many pixels."""
    try:
        picture = Image.fromarray(leaked.folder.read(leaked.folder.names[i]))
    except UserError:  # it was there a moment ago
        return None
    picture.thumbnail((side, side))
    return page.picture(picture)


def _meanings(found: Found, leaked: Leaks | None) -> dict[str, str]:
    """What every number means, in two sentences each."""
    scan, config = found.scan, found.scan.config
    meanings = {
        scan.deciding.key: "The score that decides: larger means more memorized, on a scale of the"
        " detector's own. It is compared with ordinary prompts and not across models.",
        "p": f"The share of {len(found.calibration):,} ordinary prompts that score as high, the"
        " prompt itself counted in. A prompt that is like them has a p below 5% in one case of"
        " twenty.",
        "q": "The false-discovery rate from which on the prompt is flagged (Benjamini and"
        f" Hochberg). Of all prompts with q up to {percent(config.fdr)}, at most that share is"
        " expected to be ordinary.",
        "cluster": "Prompts with most of their words in common have one number. They are one"
        " finding rather than several.",
    }
    if found.threshold:
        realised = found.threshold.realised
        meanings["threshold"] = (
            f"Scores above {found.threshold.value:.4g} are flagged by a fixed false-positive rate"
            f" of {percent(found.threshold.rate)}. From {len(found.calibration):,} ordinary"
            f" prompts one knows that it lies between {100 * realised.low:.2g}% and"
            f" {100 * realised.high:.2g}%, with 95% confidence."
        )
    if leaked:
        meanings[leaked.measure.quantity] = leaked.measure.meaning
        meanings["rank of its own picture"] = (
            "The place of the first training picture whose caption is the prompt, among those"
            " nearest to what is generated. A rank of 1 says that the model answers with what it"
            " was shown under these words."
        )
        meanings["times nearest"] = (
            "To how many of the generated pictures a training picture is the nearest of all. One"
            " that many prompts come back to is copied most, or is of a kind that much is like."
        )
    for one in found.confirmed:
        meanings[one.detector] = (
            f"A second opinion that costs more, asked of the top {percent(config.scan.share)}, of"
            f" {one.audited} others and of {len(one.calibration)} ordinary prompts. It changes no"
            " flag; where it agrees the flag is worth more."
        )
    return meanings


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _score(value: float) -> str:
    return f"{value:.5g}" if np.isfinite(value) else "–"
