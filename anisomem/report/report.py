"""Everything a run leaves for people to read, made from its stores."""

import json
from collections.abc import Sequence
from pathlib import Path

from anisomem.benchmark import Case
from anisomem.report import figures, tables
from anisomem.storage import atomic


def write(cases: Sequence[Case], folder: Path) -> str:
    """Writes tables, the JSON card and the figures to ``folder``; returns the Markdown table."""
    rows = [row for case in cases for row in case.rows()]
    table = tables.main_table(rows)
    more = [tables.rules_table(rows)]
    for case in cases:
        more += [tables.blocks_table(case), tables.pairs_table(case)]
    card = {"cases": [case.card() for case in cases], "rows": tables.records(rows)}
    atomic.write_text(folder / "table.md", table.markdown())
    atomic.write_text(folder / "table.tex", table.latex())
    atomic.write_text(
        folder / "more.md", "\n".join(f"## {t.title}\n\n{t.markdown()}" for t in more)
    )
    atomic.write_text(folder / "table.csv", tables.comma_separated(rows))
    atomic.write_text(folder / "table.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    for case in cases:
        figures.write(case, folder)
    return table.markdown()
