"""The page of a scan: flagged prompts first, with what the numbers mean. One file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anisomem.report import page
from anisomem.report.tables import percent
from anisomem.scan import tables
from anisomem.scan.found import Found
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


@dataclass(frozen=True)
class Line:
    """A prompt as the page shows it.

    Attributes:
        place: Its rank.
        flagged: Whether it is flagged.
        cells: What the table shows of it.
        text: The prompt.
        pictures: What the model makes of it, PNGs in base64.
    """

    place: int
    flagged: bool
    cells: Sequence[str]
    text: str
    pictures: Sequence[str]


def html(found: Found, cluster: Any, histogram: Path | None) -> str:
    """The page.

    Arguments:
        found: What was found.
        cluster: The cluster of every distinct prompt.
        histogram: The figure's file, where it could be drawn.
    """
    scan, config = found.scan, found.scan.config
    shown = found.order[: config.scan.shown].tolist()
    headings, lines = _lines(found, cluster, shown, read(found))
    flagged = int(found.flagged.sum())
    return page.rendered(
        "anisomem.scan",
        "scan.html.j2",
        title=f"Scan: {scan.title}",
        counts=tables.counts(found),
        headings=headings,
        lines=lines,
        left_out=found.count - len(lines),
        meanings=_meanings(found),
        histogram=page.embedded(histogram) if histogram else None,
        flagged=flagged,
        fdr=percent(config.fdr),
        limits=LIMITS,
        identity=scan.identity[:10],
        unread=scan.listed.unread[:100],
        settings=config.text,
        pictured=[line for line in lines if line.pictures],
    )


def _lines(
    found: Found, cluster: Any, shown: Sequence[int], pictures: Pictures | None
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
        lines.append(Line(place, bool(found.flagged[i]), cells, text, made.get(i, ())))
    return headings, lines


def _meanings(found: Found) -> dict[str, str]:
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
