"""Measures all lines and writes them as one table.

The measurements themselves are in the files beside this one; what a line is, in ``line``.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from anisomem.bench import cases, commands, evaluations, full_size, growth, scoring, table
from anisomem.bench.line import NOTHING, CostLine
from anisomem.config import compose
from anisomem.config.build import build
from anisomem.models.pipeline import PipelineModel
from anisomem.report.table import Table
from anisomem.run.provenance import provenance
from anisomem.storage import atomic

NOTE = (
    "Medians (turns: {turns}; one at a model of closed form) with least and greatest in brackets,"
    " one thread a process; what a line compares takes turns. Before: an earlier version on two"
    " quiet cores of an AMD EPYC. docs/costs.md says how each is measured."
)
TURNS = 5


@dataclass(frozen=True)
class Amounts:
    """How much is measured.

    Attributes:
        turns: How often every measurement is made; None is five, or one for a full-size model on a
            CPU.
        growth: Numbers of prompts to compare, ascending; None is 100, 1,000 and 10,000, or for a
            full-size model 1 and 10, on a CPU 1.
        large: Numbers of prompts to compare at a model of closed form, ascending; of the largest
            the table is made, too. None is 10,000 and 100,000.
        evaluated: Prompts that evaluations are counted and the engine is timed on.
        finished: Prompts of the run that is run again when finished.
        scored: Prompts that are scored.
        pairs: Weight pairs of the sweep.
        draws: How many draws the bootstrap takes.
    """

    turns: int | None = None
    growth: tuple[int, ...] | None = None
    large: tuple[int, ...] | None = None
    evaluated: int = 64
    finished: int = 200
    scored: int = 1_000
    pairs: int = 1_000
    draws: int = 10_000


def bench(model: Sequence[str], amounts: Amounts, out: Path | None = None) -> str:
    """The table of costs as Markdown.

    Arguments:
        model: Overrides that choose the model, e.g. ``model=testbed_velocity``.
        plan: How much is measured.
        out: Where the table is kept, as ``.md`` and, with every number, as ``.json``.

    Raises:
        UserError: A model or setting that does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="anisomem-bench-") as name:
        folder = Path(name)
        settings = compose.cases(cases.overrides(folder, model, 2))[0]
        network = build(settings.model, "model")
        if settings.model.get("weights") == "random":
            lines, third, note = _full_size(folder, model, network, amounts)
        else:
            lines, third, note = _claims(folder, model, network, amounts)
    headings = ["cost", "measured", third, "before", "machine"]
    rows = [[one.cost, one.measured, one.target, one.before, one.machine] for one in lines]
    if all(one.before == NOTHING for one in lines):
        headings, rows = [*headings[:3], "machine"], [[*row[:3], row[-1]] for row in rows]
    text = Table("Costs", headings, rows, [note]).markdown()
    if out:
        card = {
            **provenance(network),
            "model": list(model),
            "plan": asdict(amounts),
            "lines": [asdict(line) for line in lines],
        }
        atomic.write_text(out.with_suffix(".md"), text)
        content = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        atomic.write_text(out.with_suffix(".json"), content)
    return text


def _claims(
    folder: Path, model: Sequence[str], network: PipelineModel, amounts: Amounts
) -> tuple[list[CostLine], str, str]:
    torch.set_num_threads(1)  # as in the processes of a run
    turns, sizes = amounts.turns or TURNS, amounts.growth or growth.SIZES
    large = amounts.large or growth.LARGE
    lines = [
        *evaluations.lines(folder, model, network, amounts.evaluated, turns),
        *growth.lines(folder, model, network.device, sizes, turns),
        *growth.lines_of_closed_form(folder, large),
        *commands.lines(folder, model, amounts.finished, amounts.draws, turns),
        *scoring.lines(folder, model, amounts.scored, amounts.pairs, amounts.draws, turns),
        table.line(folder, large[-1], amounts.draws),
    ]
    return lines, "target", NOTE.format(turns=turns)


def _full_size(
    folder: Path, model: Sequence[str], network: PipelineModel, amounts: Amounts
) -> tuple[list[CostLine], str, str]:
    on_cpu = network.device.type == "cpu"
    turns = amounts.turns or (1 if on_cpu else TURNS)
    sizes = amounts.growth or (full_size.SIZES[:1] if on_cpu else full_size.SIZES)
    lines = full_size.lines(folder, model, network, sizes, turns)
    return (
        lines,
        "evaluations",
        full_size.NOTE.format(turns=turns, threads=torch.get_num_threads()),
    )
