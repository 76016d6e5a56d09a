"""What the followed trainings say: a table, verdicts on what decides the sign, and the figure.

What is recorded says :mod:`anisomem.geometry.arms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anisomem.evaluation import Estimate, Evaluation
from anisomem.evaluation.bootstrap import PairedDifference
from anisomem.geometry.alignment import InputAlignment
from anisomem.geometry.arms import FIRST, LOW, OFTEN, PRODUCTS, SEEDS
from anisomem.geometry.claims import HEADINGS, Claim
from anisomem.report.table import Table
from anisomem.report.tables import interval_text
from anisomem.storage import atomic
from anisomem.testbed.arms import ARMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLLAPSED = 0.8  # arms are compared where so much of the way is gone
MEMORIZES = 0.9  # AUC of the norm from which a step counts in the correlation
DRAWS = 2000
SCORES = ("cos(u, d)", "cos(x, d)", "norm")
NOTES = [
    f"AUC at t = {LOW} on pure noise of {len(SEEDS)} seeds, repeated captions against the"
    " controls, 95% intervals over clusters of captions; u predicted without, c with the prompt,"
    " d = c − u, x the noise.",
    f"collapse: 1 − ‖x̂_c − x‖² / ‖x̂_u − x‖² at t = {FIRST} over the repeated captions, x their"
    " picture; 1 where the prompt alone recalls it.",
    "Bundled models: their own prompts, labels as measured, x their training picture.",
    f"Training of large: captions that come with one picture at least {OFTEN} times an epoch"
    " against ordinary ones of its corpus.",
]


@dataclass(frozen=True)
class Followed:
    """What one step of an arm says.

    Attributes:
        arm, step: Which.
        collapse: How far the conditional has collapsed at the first step, at most 1.
        likeness: Mean cos(u, x) over noise seeds.
        evaluation: Of :data:`SCORES`, in this order.
    """

    arm: str
    step: int
    collapse: float
    likeness: float
    evaluation: Evaluation

    def areas(self) -> list[Estimate]:
        """AUC of every score."""
        return [summary.auc for summary in self.evaluation.summaries()]

    def cells(self) -> list[str]:
        """The step's cells in the table."""
        step = str(self.step) if self.step else "as bundled"
        numbers = (f"{value:.2f}" for value in (self.collapse, self.likeness))
        return [self.arm, step, *numbers, *map(interval_text, self.areas())]


def followed(rows: pd.DataFrame) -> Followed:
    """Evaluates the rows of one step."""
    rows = rows.sort_values(["seed", "entry"])
    seeds = rows["seed"].nunique()
    aligned = InputAlignment(*(_by_seed(rows[name], seeds) for name in PRODUCTS))
    scores = np.stack([aligned.cosine, aligned.along_input, aligned.norm])
    first = rows[rows["seed"] == rows["seed"].iloc[0]]
    own = rows[rows["label"] == 1]
    return Followed(
        str(rows["arm"].iloc[0]),
        int(rows["step"].iloc[0]),
        float(1 - own["picture_c"].sum() / own["picture_u"].sum()),
        float(aligned.input_cosine.mean()),
        Evaluation(scores, first["label"], first["cluster"], [0.05], DRAWS),
    )


def _by_seed(values: pd.Series[float], seeds: int) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy().reshape(seeds, -1), np.float64)


def report(folder: Path) -> str:
    """Tables and figure of what is recorded in a folder; the tables as Markdown."""
    from anisomem.report import style

    recorded = pd.concat([pd.read_csv(file) for file in sorted(folder.glob("*.csv"))])
    steps = [followed(rows) for _, rows in recorded.groupby(["arm", "step"])]
    order = [*ARMS, *sorted({one.arm for one in steps} - set(ARMS))]
    steps.sort(key=lambda one: (order.index(one.arm), one.step))
    headings = ["training", "step", "collapse", "cos(u, x)", *(f"AUC {s}" for s in SCORES)]
    table = Table("Along training", headings, [one.cells() for one in steps], NOTES)
    claims = [*_compared(steps), *_correlated(steps)]
    found = Table("Claims", HEADINGS, [claim.cells() for claim in claims])
    text = f"{found.section()}\n{table.section()}"
    atomic.write_text(folder / "arms.md", text)
    style.save(_figure(steps), folder / "arms")
    return text


def _compared(steps: Sequence[Followed]) -> list[Claim]:
    """Each arm against the first, both at the step where they have first collapsed so far."""
    reached: dict[str, Followed] = {}
    for one in steps:
        if one.arm in ARMS and one.collapse >= COLLAPSED:
            reached.setdefault(one.arm, one)
    first = next(iter(ARMS))
    claims = []
    for name, arm in ARMS.items():
        if name == first or name not in {one.arm for one in steps}:
            continue
        number = f"AUC cos(u, d), {name} − {first}, at collapse ≥ {COLLAPSED:g}"
        text = f"{arm.factor} decides the sign: {name} is nearer the paper's side"
        values = (nan, -inf, inf)
        if first in reached and name in reached:
            values = _interval(_difference(reached[name], reached[first]))
        claims.append(Claim(text, "small trainings", "noise", number, (0, inf), *values))
    return claims


def _difference(one: Followed, other: Followed) -> PairedDifference:
    """AUC of cos(u, d), on the same captions."""
    both = np.stack([one.evaluation.scores[0], other.evaluation.scores[0]])
    table = one.evaluation
    return Evaluation(both, table.labels, table.clusters, [0.05], DRAWS).auc_difference(0, 1)


def _interval(paired: PairedDifference) -> tuple[float, float, float]:
    return paired.difference, paired.interval.low, paired.interval.high


def _correlated(steps: Sequence[Followed]) -> list[Claim]:
    """The rank correlation of cos(u, x) with the AUC of cos(u, d), drawn over arms."""
    from scipy.stats import spearmanr

    telling = [s for s in steps if s.arm in ARMS and s.areas()[2].value >= MEMORIZES]
    names = sorted({one.arm for one in telling})
    if len(names) < 3:
        return []
    pairs = {
        name: np.array([(s.likeness, s.areas()[0].value) for s in telling if s.arm == name])
        for name in names
    }

    def correlation(chosen: Sequence[str]) -> float:
        return float(spearmanr(np.concatenate([pairs[name] for name in chosen])).statistic)

    generator = np.random.default_rng(0)
    draws = [correlation(generator.choice(names, len(names)).tolist()) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975]).tolist()
    text = "the paper's sign goes with pure noise being taken for noise"
    number = f"rank correlation of cos(u, x) and AUC cos(u, d), norm's AUC ≥ {MEMORIZES:g}"
    values = (correlation(names), low, high)
    return [Claim(text, "small trainings", "noise", number, (0, inf), *values)]


def _figure(steps: Sequence[Followed]) -> Figure:
    """AUC of both cosines against cos(u, x) and against collapse, one line an arm."""
    import matplotlib.pyplot as plt

    from anisomem.report.style import COLOURS, MARKERS, WIDTH

    figure, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 6.2), layout="constrained", sharey=True, sharex="col"
    )
    arms = list(dict.fromkeys(one.arm for one in steps))
    for i, arm in enumerate(arms):
        own = [one for one in steps if one.arm == arm]
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "ms": 4, "lw": 1}
        style |= {
            "marker": MARKERS[i % len(MARKERS)],
            "mfc": "none" if i >= len(COLOURS) else None,
        }
        if len(own) == 1:
            style |= {"linestyle": "none", "ms": 9, "mew": 2}
        for k, row in enumerate(axes):
            areas = [one.areas()[k] for one in own]
            ends = zip(*((a.interval.low, a.interval.high) for a in areas), strict=True)
            low, high = map(np.asarray, ends)
            centre = np.array([a.value for a in areas])
            for axis, x in zip(row, ("likeness", "collapse"), strict=True):
                at = [getattr(one, x) for one in own]
                axis.plot(at, centre, label=arm, **style)
                axis.vlines(at, low, high, color=style["color"], alpha=0.3, linewidth=1)
    for row, name in zip(axes, SCORES, strict=False):
        row[0].set_ylabel(f"AUC of {name}")
        for axis in row:
            axis.axhline(0.5, color="0.5", linewidth=0.8)
            axis.grid(color="0.92")
            axis.set_ylim(-0.02, 1.02)
    axes[1, 0].set_xlabel("cos(u, x): how far pure noise is taken for noise")
    axes[1, 1].set_xlabel("collapse of the repeated captions")
    axes[0, 0].invert_xaxis()
    named = axes[0, 0].get_legend_handles_labels()
    figure.legend(*named, fontsize=8, ncols=3, loc="outside lower center")
    return figure
