"""Detectors on several models side by side: what each achieves on every one, and its mean rank.

Cases of one run, which may also be one model with several prompt sets. Which pairs are separable
in one case is known from ``compared``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anisomem.evaluation import NOT_SEPARABLE
from anisomem.report.compared import Compared, Statistic
from anisomem.report.table import Table

Draws = npt.NDArray[np.float64]
NOTES = [
    "Detectors at their largest n. *, grey in the figure: the best of the column, and what no"
    " paired test tells apart from it after Holm's adjustment over all pairs of the column. –: not"
    " run there, or not scored.",
    "Mean rank: 1 is the best; over the columns, of the detectors that all of them have, with 95%"
    " intervals, every bootstrap sample ranked anew. They are over prompts: what another model"
    " would say is not in them.",
]


@dataclass(frozen=True)
class Cell:
    """A detector in a case.

    Attributes:
        value: What it achieves.
        is_best: Whether it is the best there or not separable from it.
    """

    value: float
    is_best: bool


@dataclass(frozen=True)
class Rank:
    """The mean rank over cases and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Across:
    """One statistic of all detectors in all cases.

    Attributes:
        name: The name of the statistic.
        names: The names of the cases.
        cells: By detector's key: a cell for each case, None where it was not run or not scored.
        ranks: By detector's key; of those that every case has.
        undecided: Of cases that can tell no two detectors apart, why; in these only the best is
            marked.
    """

    name: str
    names: Sequence[str]
    cells: Mapping[str, Sequence[Cell | None]]
    ranks: Mapping[str, Rank]
    undecided: Sequence[str] = ()

    @cached_property
    def order(self) -> list[str]:
        """Detectors by their mean rank; those without one at the end."""
        last = len(self.cells)
        return sorted(self.cells, key=lambda k: self.ranks[k].value if k in self.ranks else last)


def across(cases: Sequence[Compared]) -> list[Across]:
    """AUC, and TPR where every case can resolve the first target, in several cases."""
    by_case = [{one.name: one for one in compared.statistics()} for compared in cases]
    shared = [name for name in by_case[0] if all(name in names for names in by_case)]
    return [_across(name, cases, [names[name] for names in by_case]) for name in shared]


def _across(name: str, cases: Sequence[Compared], found: Sequence[Statistic]) -> Across:
    keys = [[detector.key for detector in one.detectors] for one in cases]
    every = list(dict.fromkeys(key for own in keys for key in own))
    common = [key for key in every if all(key in own for own in keys)]
    by_case = [
        dict(zip(own, _cells(compared, statistic), strict=True))
        for own, compared, statistic in zip(keys, cases, found, strict=True)
    ]
    rows = [[own.index(key) for key in common] for own in keys]
    ranks = _ranks([(s.values, s.draws, r) for s, r in zip(found, rows, strict=True)])
    return Across(
        name,
        [one.name for one in cases],
        {key: [cells.get(key) for cells in by_case] for key in every},
        dict(zip(common, ranks, strict=True)),
        [why for compared in cases if (why := compared.undecided)],
    )


def _cells(compared: Compared, statistic: Statistic) -> list[Cell]:
    best = int(np.argmax(statistic.values))
    if compared.undecided:
        return [Cell(value, d == best) for d, value in enumerate(statistic.values)]
    behind = {
        pair.a + pair.b - best
        for pair in compared.pairs
        if best in (pair.a, pair.b) and statistic.verdict(pair) != NOT_SEPARABLE
    }
    return [Cell(value, d not in behind) for d, value in enumerate(statistic.values)]


def _ranks(found: Sequence[tuple[Sequence[float], Draws, Sequence[int]]]) -> list[Rank]:
    """Mean ranks over cases: values, draws and the rows of the detectors on each."""
    points = [_ranked(np.array(values)[rows, None])[:, 0] for values, _, rows in found]
    fewest = min(draws.shape[1] for _, draws, _ in found)
    drawn = [_ranked(draws[rows, :fewest]) for _, draws, rows in found]
    means = np.mean(points, axis=0).tolist()
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975], axis=1).tolist()
    return [Rank(*of_one) for of_one in zip(means, low, high, strict=True)]


def _ranked(values: Draws) -> Draws:
    """Ranks in every column, 1 the greatest, equal ones sharing their mean rank."""
    return pd.DataFrame(values).rank(ascending=False).to_numpy()


def table(found: Sequence[Across], left_out: Sequence[str] = ()) -> Table:
    """All statistics beside each other, detectors by their mean rank in the first.

    Arguments:
        found: What :func:`across` returned.
        left_out: What is to be told of the detectors that a case does without.
    """
    headings = ["detector"]
    for one in found:
        headings += [*(f"{one.name}, {case}" for case in one.names), f"mean rank, {one.name}"]
    rows = []
    for key in found[0].order:
        row = [key]
        for one in found:
            row += [_text(cell) for cell in one.cells[key]]
            rank = one.ranks.get(key)
            row.append(f"{rank.value:.1f} [{rank.low:.1f}, {rank.high:.1f}]" if rank else "–")
        rows.append(row)
    undecided = [f"{why}. There only the best is marked." for why in found[0].undecided]
    return Table("Side by side", headings, rows, [*NOTES, *undecided, *left_out])


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return f"{cell.value:.3f}" + " *" * cell.is_best


def figure(found: Sequence[Across], colours: Mapping[str, str]) -> Any:
    """Detectors by cases, a panel for each statistic, and beside it the mean ranks.

    Arguments:
        found: What :func:`across` returned.
        colours: The colours of detectors by their keys.
    """
    import matplotlib.pyplot as plt

    from anisomem.report.style import GREY

    keys, names = found[0].order, found[0].names
    picture, axes = plt.subplots(
        1,
        2 * len(found),
        figsize=(1.6 + len(found) * (0.75 * len(names) + 1.4), 1.4 + 0.2 * len(keys)),
        width_ratios=[len(names), 1.8] * len(found),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    shades = plt.get_cmap("Blues")
    for one, (cells, ranks) in zip(found, axes[0].reshape(-1, 2), strict=True):
        for y, key in enumerate(keys):
            for x, cell in enumerate(one.cells[key]):
                if cell is None:
                    cells.text(x, y, "–", ha="center", va="center", fontsize=7)
                    continue
                # The same shade for the same value; below one half there is nothing to see.
                shade = 0.75 * max(0.0, 2 * cell.value - 1 if one.name == "AUC" else cell.value)
                face = GREY if cell.is_best else shades(shade)
                cells.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=face))
                tone = "white" if not cell.is_best and shade > 0.5 else "black"
                text = f"{cell.value:.3f}".removeprefix("0") if cell.value < 1 else "1"
                cells.text(x, y, text, ha="center", va="center", fontsize=7, color=tone)
            if rank := one.ranks.get(key):
                ranks.plot([rank.low, rank.high], [y, y], color=colours[key], linewidth=1.4)
                ranks.plot(rank.value, y, "o", color=colours[key], markersize=3.5)
        cells.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(keys) - 0.5, -0.5))
        cells.set_xticks(range(len(names)), names, rotation=35, ha="left", fontsize=7)
        cells.set_yticks(range(len(keys)), keys, fontsize=7)
        for axis in (cells, ranks):
            axis.xaxis.tick_top()
            axis.tick_params(length=0, labelsize=7)
            axis.spines[:].set_visible(False)
        cells.set_xlabel(f"{one.name}, by case", fontsize=8)
        ranks.set_xlabel("mean rank", fontsize=8)
        ranks.grid(axis="x", color="0.92")
    axes[0, 0].set_ylabel("detector, n noise samples", fontsize=8)
    told = ["grey: not separable from the column's best", *found[0].undecided]
    picture.suptitle("\n".join(told), fontsize=9)
    return picture
