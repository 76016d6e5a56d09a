r"""Measures what rate of false discoveries a scan keeps, on prompts whose labels are known.

    python scripts/fdr_simulation.py results/zoo/scores.csv --detector "wen, n=1"

draws a calibration and a scan from recorded scores, flags, and compares the flags with the labels.
Exchangeable: ordinary prompts of the scan come from the same blocks as the calibration. Not
exchangeable: they are near misses, which share words or a picture with memorized ones. It prints a
table in Markdown.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from anisomem.evaluation import conformal

RATES = (0.05, 0.1, 0.2)
DRAWS = 200
CALIBRATION, ORDINARY, MEMORIZED = 200, 80, 40  # prompts of a draw
NEAR = "near_miss"
#: Blocks whose prompts are ordinary: no training caption of theirs is repeated, or near one.
BLOCKS = ("seen", "unseen_pair", "unseen_wording")

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Realised:
    """What a rate of false discoveries came to.

    Attributes:
        asked: The rate that was asked for.
        fdr: The mean over draws of the share of flagged prompts that are not memorized.
        error: Its standard error over draws.
        power: The mean share of memorized prompts that are flagged.
    """

    asked: float
    fdr: float
    error: float
    power: float


def realised(
    calibrating: Scores,
    ordinary: Scores | None,
    memorized: Scores,
    sizes: tuple[int, int, int] = (CALIBRATION, ORDINARY, MEMORIZED),
    draws: int = DRAWS,
    rates: Sequence[float] = RATES,
    seed: int = 0,
) -> list[Realised]:
    """Realised rates over draws of a calibration and a scan, without replacement.

    Arguments:
        calibrating: Scores of prompts for the calibration.
        ordinary: Scores of prompts that are not memorized, for the scan; None takes those of the
            first pool that the calibration leaves.
        memorized: Scores of memorized prompts, for the scan.
        sizes: Prompts of the calibration, ordinary ones and memorized ones of the scan; fewer
            where a pool has fewer.
        draws: How often.
        rates: Rates of false discoveries.
        seed: The seed of the draws.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((draws, len(rates), 2))
    for draw in range(draws):
        mixed = rng.permutation(calibrating)
        calibration, rest = mixed[: sizes[0]], mixed[sizes[0] :]
        pool = rest if ordinary is None else rng.permutation(ordinary)
        nulls, signals = pool[: sizes[1]], rng.permutation(memorized)[: sizes[2]]
        p = conformal.p_values(np.concatenate([nulls, signals]), calibration, seed=draw)
        for k, rate in enumerate(rates):
            flagged = conformal.flagged(p, rate)
            wrong, right = flagged[: len(nulls)].sum(), flagged[len(nulls) :].sum()
            found[draw, k] = wrong / max(1, wrong + right), right / len(signals)
    errors = found[..., 0].std(axis=0, ddof=1) / np.sqrt(draws)
    means = found.mean(axis=0)
    return [
        Realised(rate, float(mean[0]), float(error), float(mean[1]))
        for rate, mean, error in zip(rates, means, errors, strict=True)
    ]


def table(scores: pd.DataFrame, detectors: Sequence[str], draws: int = DRAWS) -> str:
    """All rates of some detectors on every model, in Markdown."""
    lines = ["| model | score | ordinary prompts of the scan | " + " | ".join(_headings()) + " |"]
    lines.append("|" + "---|" * (3 + 2 * len(RATES)))
    for model, part in scores.groupby("prompts"):
        other = part["label"] == "other"
        for detector in detectors:
            values = part[detector]
            calibrating = values[other & part["block"].isin(BLOCKS)].to_numpy()
            memorized = values[part["label"] == "memorized"].to_numpy()
            near = values[other & (part["block"] == NEAR)].to_numpy()
            for name, ordinary in (("like the calibration", None), ("near misses", near)):
                cells = [
                    cell
                    for one in realised(calibrating, ordinary, memorized, draws=draws)
                    for cell in (f"{one.fdr:.3f} ± {one.error:.3f}", f"{one.power:.2f}")
                ]
                lines.append(f"| {model} | {detector} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _headings() -> list[str]:
    return [head for rate in RATES for head in (f"FDR at {100 * rate:g}%", "found")]


def main() -> None:
    """Reads scores and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, help="scores.csv of a run on labelled prompts")
    parser.add_argument("--detector", action="append", default=[], help="a column of it")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    scores = pd.read_csv(options.scores)
    detectors = options.detector or ["wen, n=1"]
    if lacking := [name for name in detectors if name not in scores]:
        sys.exit(f"{options.scores} has no column {lacking[0]!r}")
    print(table(scores, detectors, options.draws))


if __name__ == "__main__":
    main()
