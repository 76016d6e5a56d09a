"""The README.md of a report's folder: what a repository's own pages show of it.

It says what was done and by which command, has the main table and every figure, and leads to the
other files.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from anisomem.benchmark.results import Results
from anisomem.report import escape
from anisomem.report.table import Table
from anisomem.run.labelled import ASIDE

NAME = "README.md"
SHOWN = (NAME, "table.md")  # files that a README does not lead to
LOUDNESS = {"-v", "-vv", "-q", "--verbose", "--quiet"}
#: What a report's files are, by their names.
FILES = {
    "report.html": "the page: one file that needs no network, with all tables and figures",
    "table.csv": "the table with unrounded numbers",
    "table.json": "the same, and how the numbers came about",
    "table.tex": "the table for LaTeX",
    "scores.csv": "every prompt with its scores and ranks",
    "scores-by-seed.parquet": "the scores of every noise seed",
    "more.md": "further tables; more/ has each of them as CSV and for LaTeX",
}


@dataclass(frozen=True)
class Drawn:
    """A figure as a README shows it.

    Attributes:
        name: The name of its PNG below the folder.
        caption: What stands below it.
    """

    name: str
    caption: str


def readme(
    title: str,
    about: Sequence[str],
    tables: Sequence[Table],
    figures: Mapping[str, Sequence[Drawn]],
    command: str,
    names: Iterable[str],
) -> str:
    """The text of a README.

    Arguments:
        title: Its heading.
        about: What was done, a line each.
        tables: The main table, and what stands beside it.
        figures: The figures below the heading of each group.
        command: The command that asked for it, as it was typed; "" where none did.
        names: The other files of the folder, below it.
    """
    parts = [f"# {escape.markdown_line(title)}\n"]
    parts.append("".join(f"- {escape.markdown_line(line)}\n" for line in about))
    if line := shortened(command):
        parts.append(f"Made by\n\n```bash\n{line}\n```\n")
    parts += [table.section() for table in tables]
    for heading, drawn in figures.items():
        if drawn:
            parts.append(f"## {escape.markdown_line(heading)}\n")
        for one in drawn:
            alt = Path(one.name).stem.replace("_", " ")
            parts.append(f"![{_in_brackets(alt)}]({quote(one.name)})\n")
            if one.caption:
                parts.append(f"{escape.markdown_line(one.caption)}\n")
    parts.append(f"## Files\n\n{_files(names)}")
    return "\n".join(parts)


def of_run(
    all_results: Sequence[Results],
    shown: Sequence[Table],
    drawn: Mapping[str, Mapping[str, Path]],
    captions: Mapping[str, str],
    command: str,
    names: Iterable[str],
) -> str:
    """The README of a run's report.

    Arguments:
        all_results: What was run.
        shown: The main table, and what stands beside it.
        drawn: The PNGs of figures by name and by case, or by what stands for all cases.
        captions: What stands below a figure, by its name.
        command: As of :func:`readme`.
        names: As of :func:`readme`.
    """
    titles = {results.name: results.title for results in all_results}
    groups = {
        titles.get(of, of.capitalize()): [
            Drawn(path.name, captions[name]) for name, path in own.items()
        ]
        for of, own in sorted(drawn.items(), key=lambda item: item[0] in titles)
    }
    title = f"Memorization detectors: {', '.join(titles.values())}"
    return readme(title, [*map(counted, all_results)], shown, groups, command, names)


def counted(results: Results) -> str:
    """How many prompts a case has, and its noise seeds, in a line."""
    labels, seeds = results.prompts.labels, results.config.seeds
    noise = f", noise seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    drawn = any(detector.draws_noise for detector in results.configured)
    return (
        f"{results.title}: {(labels == 1).sum()} memorized and {(labels == 0).sum()} other prompts"
        + noise * drawn
    )


def shortened(command: str) -> str:
    """A command without what leaves its numbers as they are, such as where they were computed."""
    words = shlex.split(command)
    kept = [word for word in words if word not in LOUDNESS and not _is_aside(word)]
    return escape.plain(shlex.join(kept))


def _is_aside(word: str) -> bool:
    name, equals, _ = word.lstrip("+~").partition("=")
    return bool(equals) and name.split(".")[0] in ASIDE


def _files(names: Iterable[str]) -> str:
    listed = [name for name in names if "/" not in name and name not in SHOWN]
    known = [name for name in FILES if name in listed]
    others = sorted(
        n for n in listed if n not in FILES and n.endswith((".csv", ".md", ".parquet"))
    )
    told = [(name, FILES[name]) for name in known] + [(name, "") for name in others]
    return "".join(
        f"- [{_in_brackets(name)}]({quote(name)}){': ' * bool(what)}{what}\n"
        for name, what in told
    )


def _in_brackets(text: str) -> str:
    """A text that is the name of a link."""
    return escape.markdown(text).replace("[", r"\[").replace("]", r"\]")
