"""What a scan would evaluate. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.engine.counting import counts
from anisomem.report.table import Table
from anisomem.scan.scan import Scan


def plan(scans: Sequence[Scan]) -> Table:
    """One line for each scan."""
    headings = ["model", "prompts", "rows / distinct", "ordinary", "scored by"]
    headings += ["NFE of a prompt", "NFE of all", "confirmed by", "prompts confirmed", "their NFE"]
    return Table("Plan of a scan", headings, [_line(scan) for scan in scans], NOTES)


NOTES = [
    "NFE is counted by the engine on a stand-in with closed form, a JVP as two.",
    "Confirmed are the top scan.share, and scan.audit each of the rest and of the calibration.",
]


def _line(scan: Scan) -> list[str]:
    settings, distinct = scan.config.scan, len(scan.listed.texts)
    top = ceil(settings.share * distinct - 1e-9)
    costly = detectors(scan.costly)
    confirmed = top + min(settings.audit, distinct - top)
    confirmed += min(settings.audit, len(scan.ordinary.texts))
    each, dear = _nfe(scan, scan.first.configured), _nfe(scan, costly)
    return [
        scan.config.network[0],
        scan.config.prompts or "",
        f"{len(scan.listed.ids):,} / {distinct:,}",
        f"{len(scan.ordinary.texts):,} from {scan.ordinary.source}",
        ", ".join(one.key for one in scan.first.configured),
        f"{each:,}",
        f"{each * scan.size:,}",
        ", ".join(one.key for one in costly) or "nothing",
        f"{confirmed:,}" if costly else "0",
        f"{dear * confirmed:,}" if costly else "0",
    ]


def _nfe(scan: Scan, chosen: Sequence[Detector]) -> int:
    """Evaluations of a prompt at all noise seeds."""
    if not chosen:
        return 0
    counted = counts(chosen, scan.config.noise_policy)
    return round((counted.nfe + 2 * counted.jvps) * len(scan.config.seeds))
