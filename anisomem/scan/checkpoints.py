"""Several checkpoints of one model, each a scan of its own: how much of a file stands out when.

The curve is drawn in ``figures``; what is scanned of a single checkpoint is shared with its scan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from anisomem.config import own
from anisomem.config.overrides import quoted
from anisomem.datasets import clusters
from anisomem.errors import UserError
from anisomem.evaluation.estimates import Estimate
from anisomem.evaluation.shares import share
from anisomem.report.folder import Folder
from anisomem.report.table import Table
from anisomem.report.tables import percent
from anisomem.scan import figures
from anisomem.scan.found import Found
from anisomem.scan.scan import Scan
from anisomem.scan.written import CLUSTERED, Clusters
from anisomem.storage import digests
from anisomem.storage.foreign import is_repository, located

SETTING = "model.path"
CURVE = "curve"  # the stem of its files
MOST = 200  # checkpoints
ELEMENT = re.compile(r"""(?:[^,'"]|'[^']*'|"[^"]*")+|(?<=,)(?=,|$)|^(?=,|$)""")


@dataclass(frozen=True)
class Point:
    """What one checkpoint gives back.

    Attributes:
        name: What tells it from the others.
        prompts: How many distinct prompts have a score.
        flagged: The share of them that is flagged.
        above: The share above the threshold at a false-positive rate; None where there is none.
        count: How many are flagged.
    """

    name: str
    prompts: int
    flagged: Estimate
    above: Estimate | None
    count: int


def listed(words: Sequence[str]) -> list[str]:
    """The paths of ``model.path=[A,B,...]``; none where a single one, or nothing, is given.

    Raises:
        UserError: One is empty or comes twice, or they are too many.
    """
    given = [word.partition("=")[2] for word in words if word.partition("=")[0] == SETTING]
    text = given[-1] if given else ""
    if not (text.startswith("[") and text.endswith("]")) or located(text):
        return []
    inner = text[1:-1].strip()
    paths = [_unquoted(one.strip()) for one in ELEMENT.findall(inner)] if inner else [""]
    if not all(paths):
        raise UserError(f"{SETTING}={text} names nothing in a place; write '{SETTING}=[A,B,C]'")
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise UserError(f"{SETTING} names {twice[0]!r} twice; a checkpoint is one point")
    if len(paths) > MOST:
        raise UserError(f"{SETTING} names {len(paths):,} checkpoints, and a curve has {MOST}")
    return paths


def of_each(words: Sequence[str], paths: Sequence[str]) -> list[list[str]]:
    """The words of each checkpoint's own scan."""
    others = [word for word in words if word.partition("=")[0] != SETTING]
    return [[*others, f"{SETTING}={quoted(path)}"] for path in paths]


def require_comparable(scans: Sequence[Scan], paths: Sequence[str]) -> None:
    """Checks before anything is recorded that there are as many models, all at hand.

    Raises:
        UserError: One is not there, is no model by what lies in it, or is another one's copy.
    """
    for scan, path in zip(scans, paths, strict=True):
        if not own.is_own(str(scan.config.model.get("_target_"))):
            _require_model(path)
    by_identity: dict[str, str] = {}
    for scan, path in zip(scans, paths, strict=True):
        if (other := by_identity.setdefault(scan.identity, path)) != path:
            raise UserError(f"{SETTING} names one model twice, {other!r} and {path!r}")


def _require_model(path: str) -> None:
    place = located(path)
    # Where there is a folder OWNER, a checkpoint in it was meant, and no repository OWNER/NAME.
    if place is None and (not is_repository(path) or Path(path).parent.is_dir()):
        raise UserError(f"{SETTING} names {path!r}, which is not there")
    if place and place.is_dir() and not (place / "model_index.json").is_file():
        raise UserError(
            f"{SETTING} names {path!r}, a folder without model_index.json; a checkpoint is a "
            "whole pipeline, as save_pretrained leaves it, or a .safetensors file"
        )


def names(paths: Sequence[str]) -> list[str]:
    """What tells paths apart: what they all begin and end with is left out."""
    parts = [PurePath(path).parts for path in paths]
    least = min(map(len, parts)) - 1
    first = min(least, _common(parts))
    last = min(least - first, _common([one[::-1] for one in parts]))
    return ["/".join(one[first : len(one) - last]) for one in parts]


def _common(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with."""
    columns = zip(*parts, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def points(found: Sequence[Found], paths: Sequence[str]) -> list[Point]:
    """What each checkpoint gives back, over the same clusters of prompts."""
    groups = _clusters(found)
    return [_point(one, name, groups) for one, name in zip(found, names(paths), strict=True)]


def _point(found: Found, name: str, groups: Clusters) -> Point:
    config, scored = found.scan.config, found.scored
    rate = partial(share, clusters=groups[scored], draws=config.draws, seed=config.bootstrap_seed)
    above = None
    if found.threshold:
        above = rate(found.deciding[scored] > found.threshold.value)
    flags = found.flagged[scored]
    return Point(name, int(scored.sum()), rate(flags), above, int(flags.sum()))


def _clusters(found: Sequence[Found]) -> Clusters:
    """Clusters of near duplicates among the prompts, ``[N]``.

    Of more than :data:`~anisomem.scan.written.CLUSTERED` those that are flagged at some checkpoint
    are compared, as many of them; every other one is by itself.
    """
    texts = found[0].scan.listed.texts
    rows = np.arange(len(texts))
    if len(texts) > CLUSTERED:
        rows = np.flatnonzero(np.any([one.flagged for one in found], axis=0))[:CLUSTERED]
    groups = np.arange(len(texts)) + len(texts)
    groups[rows] = clusters.near_duplicates([texts[i] for i in rows.tolist()])
    return groups


def table(curve: Sequence[Point], found: Sequence[Found]) -> Table:
    """One line for each checkpoint."""
    scan = found[0].scan
    rate = percent(scan.config.fpr_targets[0])
    headings = ["checkpoint", "prompts", "flagged", "share flagged", f"share above {rate} FPR"]
    lines = [
        [one.name, f"{one.prompts:,}", f"{one.count:,}", _text(one.flagged), _text(one.above)]
        for one in curve
    ]
    notes = [
        f"Flagged at a false-discovery rate of {percent(scan.config.fdr)} by {scan.deciding.key}, "
        f"each checkpoint against its own scores of {len(scan.ordinary.texts):,} ordinary prompts;"
        f" of these {rate} are above the threshold by chance.",
        "Intervals: 95%, percentile bootstrap over clusters of near duplicates among the scanned "
        "prompts, by the rule of three where none or all are flagged. The ordinary prompts are as "
        "they were drawn, the same for all, so differences between checkpoints are less uncertain "
        "than each share.",
    ]
    if len(scan.listed.texts) > CLUSTERED:
        notes.append(
            f"Of more than {CLUSTERED:,} prompts near duplicates are sought among flagged ones."
        )
    return Table(f"Checkpoints, {scan.name}", headings, lines, notes)


def folder_of(scans: Sequence[Scan]) -> Path:
    """Where the curve of some scans is kept, beside them."""
    content = {"checkpoints": [scan.identity for scan in scans]}
    name = f"{scans[0].name}-checkpoints-{digests.digest(content)[:10]}"
    return scans[0].folder.with_name(name)


def write(folder: Path, curve: Sequence[Point], found: Sequence[Found]) -> None:
    """Writes the table and the figure."""
    records = [_record(point, one) for point, one in zip(curve, found, strict=True)]
    with Folder(folder, CURVE) as written:
        written.table(CURVE, table(curve, found), records)
        scan = found[0].scan
        draw = partial(
            figures.curve,
            [one.name for one in curve],
            {
                f"flagged at FDR {percent(scan.config.fdr)}": [one.flagged for one in curve],
                f"above {percent(scan.config.fpr_targets[0])} FPR": [one.above for one in curve],
            },
            f"{scan.name}, by {scan.deciding.key}",
        )
        written.figures({CURVE: draw})


def _record(point: Point, found: Found) -> dict[str, Any]:
    """A line with unrounded numbers, and the folder of its scan."""
    record: dict[str, Any] = {
        "checkpoint": point.name,
        "path": str(found.scan.config.model.get("path")),
        "scan": found.scan.folder.name,
        "prompts": point.prompts,
        "flagged": point.count,
    }
    for name, estimate in (("share_flagged", point.flagged), ("share_above", point.above)):
        record[name] = estimate and estimate.value
        record[f"{name}_low"] = estimate and estimate.interval.low
        record[f"{name}_high"] = estimate and estimate.interval.high
    return record


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "too few ordinary prompts"
    low, high = (100 * end for end in (estimate.interval.low, estimate.interval.high))
    return f"{100 * estimate.value:.1f}% [{low:.1f}%, {high:.1f}%]"


def _unquoted(text: str) -> str:
    whole = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if whole else text
