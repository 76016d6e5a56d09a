"""What a command finds besides the table of a run, as a page and a README like a run's.

Sweeps, trade-offs and the geometry each say what they have found as :class:`Findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from anisomem.config.schema import Config
from anisomem.report import page
from anisomem.report.attempt import attempt
from anisomem.report.folder import Folder
from anisomem.report.readme import Drawn, readme
from anisomem.report.table import Table
from anisomem.run.base import Run

TOGETHER = "Figures"  # those of no case alone
CAUTIONS = (
    "A choice that was made by looking at these numbers is optimistic on the same prompts.",
    "Scores move in their last digits with batch size, precision and hardware.",
)


@dataclass(frozen=True)
class Part:
    """What was evaluated for one model and prompt set.

    Attributes:
        name: Its name in the figures' names.
        title: What it is called.
        identity: Digest of what changes its numbers.
        settings: Its settings.
    """

    name: str
    title: str
    identity: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run[Any]) -> Part:
        """What a run has evaluated."""
        return cls(run.name, run.title, run.identity, of_settings(run.config))


def of_settings(config: Config) -> Mapping[str, Any]:
    """Settings as they were composed, as far as they say something."""
    return {name: value for name, value in config.composed.items() if value not in ({}, [], None)}


@dataclass(frozen=True)
class Findings:
    """What a command has found.

    Attributes:
        title: Of the page.
        about: What is compared, in sentences.
        summary: What each part is of, a line each.
        parts: The models and prompt sets.
        tables: The tables, those that are printed first.
        captions: What stands below a figure, by its kind: its name without the part's.
        key: The column that stays in sight while a table scrolls.
        printed: How many of the tables are printed, which a README has too.
        warnings: What a reader must know before the numbers.
    """

    title: str
    about: str
    summary: Sequence[str]
    parts: Sequence[Part]
    tables: Sequence[Table]
    captions: Mapping[str, str]
    key: str
    printed: int = 1
    warnings: Sequence[str] = field(default_factory=list)


def write(findings: Findings, written: Folder, saved: Mapping[str, Path], command: str) -> None:
    """Writes ``report.html``, and the README last; one that fails costs nothing else.

    Arguments:
        findings: What was found.
        written: The report's folder, all else written.
        saved: The PNGs of its figures by name.
        command: The command that asked for it, as it was typed; "" where none did.
    """
    groups = _groups(findings, saved)
    content = attempt("report.html", lambda: html(findings, groups, saved, command))
    if content is not None:
        written.text("report.html", content)
    figures = {
        title: [
            Drawn(saved[file].relative_to(written.path).as_posix(), text) for file, text in own
        ]
        for title, own in _titled(findings, groups)
    }
    about = [findings.about, *findings.summary]
    tables = findings.tables[: findings.printed]
    written.readme(lambda names: readme(findings.title, about, tables, figures, command, names))


def html(
    findings: Findings,
    groups: Mapping[str, Sequence[tuple[str, str]]],
    saved: Mapping[str, Path],
    command: str,
) -> str:
    """One page that needs no network, in the look of a run's."""
    return page.rendered(
        "anisomem.report",
        "findings.html.j2",
        found=replace(findings, tables=[_first(findings.key, one) for one in findings.tables]),
        command=command,
        cautions=CAUTIONS,
        figures=[
            (
                title,
                [{"caption": text, "data": page.embedded(saved[file])} for file, text in own],
            )
            for title, own in _titled(findings, groups)
        ],
        settings=[
            (
                f"{part.title}, identity {part.identity[:10]}",
                yaml.safe_dump(dict(part.settings), sort_keys=False, allow_unicode=True),
            )
            for part in findings.parts
        ],
    )


def _first(key: str, table: Table) -> Table:
    """A table whose key stands first, so that on a phone its numbers are beside it."""
    last = [name for name in ("prompts", "model") if name in table.headings]
    first = [name for name in (key,) if name in table.headings]
    if not first:
        return table
    middle = [name for name in table.headings if name not in (*first, *last)]
    order = [list(table.headings).index(name) for name in (*first, *middle, *last)]
    rows = [[row[k] for k in order] for row in table.rows]
    return replace(table, headings=[table.headings[k] for k in order], rows=rows)


def _groups(findings: Findings, saved: Mapping[str, Path]) -> dict[str, list[tuple[str, str]]]:
    """Figures with their captions by the part that they are of, "" for those of none alone."""
    names = sorted((part.name for part in findings.parts), key=len, reverse=True)
    groups: dict[str, list[tuple[str, str]]] = {
        name: [] for name in ("", *(part.name for part in findings.parts))
    }
    for file in saved:
        bare = file.rpartition("/")[2]
        part = next((n for n in names if bare == n or _kind(bare, n) != bare), "")
        groups[part].append((file, findings.captions.get(_kind(bare, part), "")))
    return groups


def _kind(bare: str, part: str) -> str:
    """A figure's name without that of its part, which stands before or behind it."""
    if not part or bare == part:
        return "" if part else bare
    return bare.removesuffix(f"-{part}").removeprefix(f"{part}-")


def _titled(
    findings: Findings, groups: Mapping[str, Sequence[tuple[str, str]]]
) -> list[tuple[str, Sequence[tuple[str, str]]]]:
    titles = {"": TOGETHER} | {part.name: part.title for part in findings.parts}
    return [(titles[part], own) for part, own in groups.items() if own]
