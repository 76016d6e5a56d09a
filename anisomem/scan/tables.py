"""What a scan prints: how many prompts stand out, and the highest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anisomem.config import catalog
from anisomem.datasets.training_folder import shown
from anisomem.evaluation.interval import Interval
from anisomem.report.table import Table
from anisomem.report.tables import percent
from anisomem.scan import leaks
from anisomem.scan.found import Confirmed, Found
from anisomem.scan.leaks import Leaks

SHOWN = 10  # prompts that are printed


def printed(found: Found) -> str:
    """Both tables for a terminal."""
    return f"{counts(found).printed()}\n{top(found, SHOWN).printed()}"


def counts(found: Found) -> Table:
    """How many prompts were read, scanned, flagged and confirmed."""
    scan, config = found.scan, found.scan.config
    rows, unread = len(scan.listed.ids), len(scan.listed.unread)
    of_rows = int(scan.listed.times[found.flagged].sum())
    more = f", in {of_rows:,} rows" * (of_rows != int(found.flagged.sum()))
    without = len(scan.ordinary.texts) - len(found.calibration)
    lines = [
        ["rows read", f"{rows:,}", f"{unread:,} cannot be read" if unread else ""],
        ["distinct prompts", f"{found.count:,}", f"scored by {_names(found)}"],
        ["ordinary prompts", f"{len(found.calibration):,}", f"from {source_of(found)}"],
        [
            "flagged",
            f"{int(found.flagged.sum()):,}",
            f"at a false-discovery rate of {percent(config.fdr)}, by {scan.deciding.key}{more}",
        ],
        _above(found),
        *(line for one in found.confirmed for line in _confirmed(found, one)),
    ]
    if leaked := leaks.read(found):
        lines += _leaked(found, leaked)
    elif scan.training:
        lines.append(["training pictures", "0", "compared; no prompt is flagged"])
    if without:
        lines.append(["ordinary, failed", f"{without:,}", "the model returned NaN or infinity"])
    if found.failures:
        lines.append(["failed", f"{len(found.failures):,}", "the model returned NaN or infinity"])
    return Table(f"Scan of {scan.title}", ["", "prompts", ""], lines, notes(found))


def notes(found: Found) -> list[str]:
    """What the numbers rest on."""
    return [
        "p: share of ordinary prompts that score as high or higher, by rank; q: the"
        " false-discovery rate from which on a prompt is flagged. Both hold for prompts that are"
        " like the calibration unless they are memorized.",
        "A flag says that a prompt stands out, not that a picture was copied.",
    ]


def top(found: Found, count: int) -> Table:
    """The highest prompts."""
    listed, others = found.scan.listed, list(found.scores.values)[1:]
    first = first_ids(found)
    seconds = found.confirmed
    lines = [
        [
            str(place),
            first[i],
            listed.texts[i],
            f"{listed.times[i]:,}",
            f"{found.deciding[i]:.4g}",
            *(f"{found.scores.values[key][i]:.4g}" for key in others),
            *(_number(one.scores[i]) for one in seconds),
            f"{found.p[i]:.2g}",
            _beside(found.q[i], found.scan.config.fdr),
            "yes" if found.flagged[i] else "no",
        ]
        for place, i in enumerate(found.order[:count].tolist(), 1)
    ]
    names = [found.scan.deciding.key, *others, *(one.detector for one in seconds)]
    headings = ["", "id", "prompt", "times", *names, "p", "q", "flagged"]
    return Table("Highest prompts", headings, lines, optional=["times", *names[1:]])


def _beside(q: float, rate: float) -> str:
    """Two digits, or as many as tell on which side of the rate it is."""
    shown = (f"{q:.{digits}g}" for digits in range(2, 17))
    return next((text for text in shown if (float(text) <= rate) == (q <= rate)), repr(q))


def first_ids(found: Found) -> dict[int, str]:
    """The id of every distinct prompt's first row."""
    first: dict[int, str] = {}
    for key, text in zip(found.scan.listed.ids, found.scan.listed.rows.tolist(), strict=True):
        first.setdefault(text, key)
    return first


def source_of(found: Found) -> str:
    """Where the ordinary prompts come from, in words."""
    source = found.scan.ordinary.source
    bundled = source in map(str, map(catalog.references, catalog.VARIANTS))
    return "the bundled models' reference captions" if bundled else source


def _names(found: Found) -> str:
    return ", ".join(one.key for one in found.scan.first.configured)


def _above(found: Found) -> list[str]:
    rate = percent(found.scan.config.fpr_targets[0])
    if not (threshold := found.threshold):
        return [f"above {rate} FPR", "–", "too few ordinary prompts for such a threshold"]
    above = int((found.deciding[found.scored] > threshold.value).sum())
    return [
        f"above {rate} FPR",
        f"{above:,}",
        f"score above {threshold.value:.4g}; realised FPR {_share(threshold.realised)} (95%)",
    ]


def _confirmed(found: Found, one: Confirmed) -> Sequence[Sequence[str]]:
    rate, share = percent(found.scan.config.fpr_targets[0]), found.scan.config.scan.share
    lines = []
    if one.failed:
        what = "the model returned NaN or infinity"
        lines.append([f"{one.detector}, failed", f"{one.failed:,}", what])
    if not one.threshold:
        too_few = f"too few ordinary prompts for a threshold of {rate}"
        return [*lines, [one.detector, "–", too_few]]
    lines.append(
        [
            f"{one.detector}: top {percent(share)}",
            f"{one.above:,} of {one.top:,}",
            f"above {one.threshold.value:.4g}, {rate} FPR; of flagged ones {one.agreed:,} of "
            f"{one.flagged:,}",
        ]
    )
    if one.share:
        low, high = (round(end * one.rest) for end in (one.share.low, one.share.high))
        lines.append(
            [
                f"{one.detector}: audit",
                f"{one.missed:,} of {one.audited:,}",
                f"so {low:,} to {high:,} of the other {one.rest:,} (95%); by chance {rate}",
            ]
        )
    return lines


def _leaked(found: Found, leaked: Leaks) -> list[list[str]]:
    """How many training pictures there are, and how near the nearest comes."""
    beside = leaked.folder.beside
    some = "1 other file" if beside == 1 else f"{beside:,} other files"
    said = [
        f"from {catalog.shown(found.scan.config.pictures or '')}",
        f"{some} beside them" if beside else "",
    ]
    if leaked.unread:
        first = leaked.unread[min(leaked.unread)]
        said.append(f"{len(leaked.unread):,} cannot be read, first {first}")
    order = leaked.order
    lines = [["training pictures", f"{len(order):,}", "; ".join(filter(None, said))]]
    if order and (of := leaks.prompt_of(leaked, order[0])):
        middle = _number(float(np.median(leaked.closest[order])))
        lines.append(
            [
                "nearest of them",
                _number(leaked.closest[order[0]]),
                f"{leaked.measure.quantity} of {shown(leaked.folder.names[order[0]])} to a "
                f"picture of {found.scan.text_of(of[0])[:60]!r}; the median of all is {middle}",
            ]
        )
    return lines


def _share(interval: Interval) -> str:
    return f"{100 * interval.low:.2g}% to {100 * interval.high:.2g}%"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.4g}"
