"""Measures all lines and writes them as one table."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from anisomem import config
from anisomem.bench import cases, commands, evaluations, growth, scoring
from anisomem.bench.line import Line
from anisomem.provenance import provenance
from anisomem.report.tables import Table
from anisomem.storage import atomic

NOTE = (
    "Medians (turns: {turns}) with least and greatest in brackets, one thread a process; what a"
    " line compares takes turns. docs/costs.md says how each is measured."
)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        turns: Of every measurement.
        growth: Numbers of prompts to compare, ascending.
        evaluated: Prompts that evaluations are counted and the engine is timed on.
        finished: Prompts of the run that is run again when finished.
        scored: Prompts that are scored.
        pairs: Weight pairs of the sweep.
        draws: Of the bootstrap.
    """

    turns: int = 5
    growth: tuple[int, ...] = (100, 1_000, 10_000)
    evaluated: int = 64
    finished: int = 200
    scored: int = 1_000
    pairs: int = 1_000
    draws: int = 10_000


def bench(model: Sequence[str], plan: Plan, out: Path | None = None) -> str:
    """The table of costs as Markdown.

    Arguments:
        model: Overrides that choose the model, e.g. ``model=testbed_velocity``.
        plan: How much is measured.
        out: Where the table is kept, as ``.md`` and, with every number, as ``.json``.

    Raises:
        UserError: A model or setting that does not exist.
    """
    torch.set_num_threads(1)  # as in the processes of a run
    with tempfile.TemporaryDirectory(prefix="anisomem-bench-") as name:
        folder = Path(name)
        network = config.build(cases.case(folder, model, 2).config.model, "model")
        turns = plan.turns
        lines: list[Line] = [
            *evaluations.lines(folder, model, network, plan.evaluated, turns),
            *growth.lines(folder, model, network.device, plan.growth, turns),
            *commands.lines(folder, model, plan.finished, plan.draws, turns),
            *scoring.lines(folder, model, plan.scored, plan.pairs, plan.draws, turns),
        ]
    table = Table(
        "Costs",
        ["cost", "measured", "target", "machine"],
        [[line.cost, line.measured, line.target, line.machine] for line in lines],
        [NOTE.format(turns=turns)],
    )
    text = table.markdown()
    if out:
        card = {
            **provenance(network),
            "model": list(model),
            "plan": asdict(plan),
            "lines": [asdict(line) for line in lines],
        }
        atomic.write_text(out.with_suffix(".md"), text)
        content = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        atomic.write_text(out.with_suffix(".json"), content)
    return text
