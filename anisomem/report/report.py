"""Everything a run leaves for people to read, made from its stores.

Tables are from ``tables``, figures from ``figures``; the page is ``report.html.j2``, and what it
says in words ``said``, ``terms`` and ``descriptions``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from anisomem.benchmark.results import Results, Row, rows_of
from anisomem.console import progress
from anisomem.report import across, escape, gammas, page, published, said, tables, terms
from anisomem.report.attempt import attempt, attempts
from anisomem.report.card import card
from anisomem.report.compared import Compared
from anisomem.report.descriptions import descriptions
from anisomem.report.folder import Folder
from anisomem.report.readme import of_run
from anisomem.report.table import Table
from anisomem.report.warnings import warnings

PAIRS = "pairs/"  # before a case's name: what figures show of its pairs
TOGETHER = "side by side"  # where figures of all cases stand among those of each
KEYS = ("detector", "a")  # the first of these stays in sight while a table scrolls
CAUTIONS = (
    "What text alone separates (text_only, prompt_length) is no evidence about the model.",
    "Differences without a verdict in the pairs table are not separable at these numbers of"
    " prompts.",
    "A TPR at a false-positive rate that few negatives resolve jumps by whole prompts.",
    "Scores move in their last digits with batch size, precision and hardware.",
)


def headline(all_results: Sequence[Results], rows: Sequence[Row]) -> list[Table]:
    """The main table, and what is published beside it where anything is."""
    table, beside = tables.main_table(rows), published.comparison(all_results, rows)
    notes = [*table.notes, *tables.left_out(all_results)]
    if beside is not None:
        return [replace(table, notes=notes), beside]
    known = any(results.config.model.get("path") for results in all_results)
    sets = {results.case.prompts.name for results in all_results}
    on_these = any(one.prompts in sets for one in published.published())
    of = "of these rows" if on_these else "on these prompts"
    unpublished = [f"Nothing is published {of}."] * known
    return [replace(table, notes=[*notes, *unpublished])]


def printed(all_results: Sequence[Results]) -> str:
    """The :func:`headline` of finished cases for a terminal."""
    table, *beside = headline(all_results, rows_of(all_results))
    return table.printed() + "".join(
        f"\n{escape.markdown_line(t.title)}\n\n{t.printed()}" for t in beside
    )


def write(
    all_results: Sequence[Results], folder: Path, command: str = ""
) -> Mapping[str, Mapping[str, Path]]:
    """Writes tables, scores, cards, figures and ``report.html``; the figures by case and name.

    What an earlier report has left there and this one has not made is removed. Anything but the
    table that fails is left out, which is said.

    Arguments:
        all_results: The results of complete cases.
        folder: Where to.
        command: The command that asked for it, as it was typed; "" where none did.
    """
    from anisomem.report import figures, scores
    from anisomem.report.colours import colours_of

    with progress.phase("statistics"):
        rows = rows_of(all_results)
        table, *beside = headline(all_results, rows)
        records = tables.records(rows)
    with Folder(folder, "report") as written:
        written.table("table", table, records)
        content = {"cases": [card(results) for results in all_results], "rows": records}
        written.text("table.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        written.text("scores.csv", scores.comma_separated(scores.frame(all_results)))
        if any(len(results.config.seeds) > 1 for results in all_results):
            path = folder / "scores-by-seed.parquet"
            scores.write(scores.by_seed(all_results), path)
            written.add(path)
        makes: dict[str, Callable[[], Any]] = {**further(all_results, rows, beside)}
        of_pairs: dict[str, Callable[[], Any]] = {
            f"{PAIRS}{results.name}": partial(figures.compared_of, results)
            for results in all_results
        }
        made = attempts({**of_pairs, **makes}, "statistics of parts and pairs", "table")
        more = {name: made[name] for name in makes if name in made}
        pairs = {key.removeprefix(PAIRS): made[key] for key in of_pairs if key in made}
        compared, colours = list(pairs.values()), colours_of(all_results)
        draws = {
            results.name: figures.figures_of(results, pairs.get(results.name), colours)
            for results in all_results
        }
        if len(compared) == len(all_results) > 1:
            found = attempt("cases side by side", partial(across.across, compared))
            if found is not None:
                more = {"side-by-side": across.table(found, tables.left_out(all_results)), **more}
                by_key = {d.key: colours[d.name] for r in all_results for d in r.detectors}
                draws[TOGETHER] = {"across": partial(across.figure, found, by_key)}
        written.more(more)
        files = {
            (of, name): name if of == TOGETHER else f"{name}-{of}"
            for of, own in draws.items()
            for name in own
        }
        saved = written.figures({file: draws[of][name] for (of, name), file in files.items()})
        drawn: dict[str, dict[str, Path]] = {of: {} for of in draws}
        for (of, name), file in files.items():
            if file in saved:
                drawn[of][name] = saved[file]
        shown = [table, *more.values()]
        make = partial(html, all_results, shown, drawn, pairs, command)
        content_of_page = attempt("report.html", make)
        if content_of_page is not None:
            written.text("report.html", content_of_page)
        beneath = partial(of_run, all_results, [table, *beside], drawn, figures.CAPTIONS, command)
        written.readme(beneath)
    return drawn


def further(
    all_results: Sequence[Results], rows: Sequence[Row], beside: Sequence[Table]
) -> dict[str, Callable[[], Table | None]]:
    """What makes every further table, by the name of its file."""
    makes: dict[str, Callable[[], Table]] = {
        other.title.lower().replace(" ", "-"): partial(_have_same_model, other) for other in beside
    }
    makes["rules-of-released-codes"] = partial(tables.rules_table, rows)
    if any(row.gamma for row in rows):
        makes["weights-of-the-metric"] = partial(gammas.table, rows)
    makes["costs"] = partial(tables.costs_table, all_results)
    for results in all_results:
        makes[f"blocks-of-{results.name}"] = partial(tables.blocks_table, results)
        makes[f"pairs-on-{results.name}"] = partial(tables.pairs_table, results)
    return {name: partial(attempt, f"table {name}", make) for name, make in makes.items()}


def _have_same_model(table: Table) -> Table:
    return table


def html(
    all_results: Sequence[Results],
    shown: Sequence[Table],
    drawn: Mapping[str, Mapping[str, Path]],
    pairs: Mapping[str, Compared],
    command: str,
) -> str:
    """One page that needs no network: what is found in words, tables, figures, gallery, settings.

    Arguments:
        all_results: What was run.
        shown: The tables, main one first.
        drawn: Figures by case and name.
        pairs: Every pair of detectors, by case; none of a case that has one alone.
        command: The command that asked for it; "" where none did.
    """
    from anisomem.report import gallery

    configured = [detector for results in all_results for detector in results.configured]
    described = descriptions(configured)
    return page.rendered(
        "anisomem.report",
        "report.html.j2",
        title=f"Memorization detectors: {', '.join(results.title for results in all_results)}",
        written=said.written(command),
        warnings=warnings(all_results),
        tables=[page.grouped(table, KEYS) for table in shown],
        terms=terms.explained(shown[0]),
        descriptions=described,
        links={
            text: 1 + [one.name for one in described].index(detector.name)
            for detector in configured
            for text in (detector.name, detector.key)
        },
        cautions=CAUTIONS,
        cases=[
            {
                "name": results.name,
                "title": results.title,
                "said": said.sentences(results, pairs.get(results.name)),
                "facts": said.facts(results),
                "gallery": attempt(f"gallery of {results.name}", partial(gallery.shown, results)),
                "identity": results.case.identity[:10],
                "card": yaml.safe_dump(card(results), sort_keys=False, allow_unicode=True),
                "figures": _shown(drawn.get(results.name, {})),
            }
            for results in all_results
        ],
        together=_shown(drawn.get(TOGETHER, {})),
    )


def _shown(drawn: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Figures as the page holds them."""
    from anisomem.report import figures

    return [
        {
            "name": name,
            "caption": figures.CAPTIONS[name],
            "data": page.embedded(path),
            "wide": name in figures.WIDE,
        }
        for name, path in drawn.items()
    ]
