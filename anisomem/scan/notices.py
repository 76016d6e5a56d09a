"""What a scan says on stderr: what is known before it, and what went wrong in it."""

from __future__ import annotations

import shlex
import sys

from anisomem.config import catalog
from anisomem.errors import UserError
from anisomem.evaluation import conformal
from anisomem.report.tables import percent
from anisomem.scan.found import Found
from anisomem.scan.scan import Scan

UNREAD = "unread.txt"  # the rows that cannot be read, in the scan's folder


def before(scan: Scan) -> None:
    """Says what is known before anything is recorded.

    Raises:
        UserError: The calibration is too small for anything to be flagged.
    """
    for line in known(scan):
        print(f"anisomem: {line}", file=sys.stderr)


def known(scan: Scan) -> list[str]:
    """What a user should know beforehand, a line each.

    Raises:
        UserError: The calibration is too small for anything to be flagged.
    """
    listed, ordinary, config = scan.listed, scan.ordinary, scan.config
    lines = []
    if listed.unread:
        rows = len(listed.ids) + len(listed.unread)
        lines.append(
            f"{len(listed.unread):,} of {rows:,} rows cannot be read and are not scanned, first "
            f"{listed.unread[0]}; all are in {scan.folder / UNREAD}"
        )
    if listed.labelled:
        known = config.prompts in catalog.names("dataset")
        given = f"dataset.path={config.prompts}"
        dataset = str(config.prompts) if known else f"prompts_file {shlex.quote(given)}"
        lines.append(
            f"{config.prompts} has labels, which a scan does not read; anisomem run "
            f"dataset={dataset} judges detectors by them"
        )
    if scan.scanned.limited:
        lines.append(
            f"limit={config.limit} leaves {scan.scanned.limited:,} prompts out of the scan"
        )
    if ordinary.unread:
        lines.append(
            f"{len(ordinary.unread):,} rows of the calibration cannot be read, first "
            f"{ordinary.unread[0]}"
        )
    if ordinary.memorized:
        lines.append(
            f"{ordinary.memorized:,} rows of the calibration are labelled memorized and left out"
        )
    if ordinary.overlapping:
        lines.append(
            f"{ordinary.overlapping:,} prompts of the calibration are scanned too and left out of "
            "it"
        )
    return [*lines, *_resolution(scan)]


def _many(count: int) -> str:
    """A number of prompts, in words of a bearable length."""
    return f"{count:,}" if count < 10**12 else f"{count:.0e}"


def _resolution(scan: Scan) -> list[str]:
    """What the calibration can tell.

    Raises:
        UserError: It can never flag anything.
    """
    n, m, config = len(scan.ordinary.texts), len(scan.listed.texts), scan.config
    fewest = conformal.fewest_flagged(n, m, config.fdr)
    if fewest > m:
        least = conformal.calibration_needed(m, config.fdr, together=m)
        raise UserError(
            f"the calibration has {n:,} ordinary prompt{'s' * (n != 1)}, by which nothing can be "
            f"flagged at fdr={config.fdr:g}; that needs {_many(least)} or more, give"
            " calibration=FILE with as many, or a larger fdr"
        )
    lines = []
    if fewest > 1:
        single = conformal.calibration_needed(m, config.fdr)
        lines.append(
            f"with {n:,} ordinary prompts, at fdr={config.fdr:g} either {fewest:,} of {m:,} "
            f"prompts or more are flagged, or none; calibration=FILE with {single:,} ordinary "
            "prompts can flag a single one"
        )
    rate = config.fpr_targets[0]
    if n < (least := conformal.calibration_needed(1, rate)):
        lines.append(
            f"with {n:,} ordinary prompts there is no threshold at a false-positive rate of "
            f"{percent(rate)}, which needs {least:,}"
        )
    elif scan.costly and config.scan.audit < least:
        lines.append(
            f"scan.audit={config.scan.audit} gives the detectors that confirm no threshold at a "
            f"false-positive rate of {percent(rate)}; scan.audit={least} does"
        )
    return lines


def failed(found: Found) -> bool:
    """Whether the model failed on prompts and the user did not allow it, which is said."""
    failures, config = found.failures, found.scan.config
    if not failures or config.on_failure == "keep":
        return False
    row, reason = next(iter(failures.items()))
    print(
        f"anisomem: {found.scan.name}: {len(failures)} of {found.count} prompts failed, first "
        f"{found.scan.text_of(row)[:60]!r} ({reason}); on_failure=keep scans the others, "
        "on_failure=retry evaluates them again",
        file=sys.stderr,
    )
    return True
