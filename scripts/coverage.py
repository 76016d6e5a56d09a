"""How often the 95% intervals hold the truth, by simulation; prints a Markdown table.

    python scripts/coverage.py --repeats 400 --draws 400 > coverage.md

Scores of two detectors are binormal with the same known AUC and TPR, correlated 0.7 over prompts.
In clusters of more than one prompt half of the variance is shared, as near-duplicates share it.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from anisomem.evaluation import Evaluation

AREAS = (0.85, 0.95, 0.99, 0.998)
TARGETS = (0.01, 0.03)
COLUMNS = ("AUC", "percentiles", "logit-DeLong", "TPR@1%", "TPR@3%")
SIZES = ("AUC differs", "TPR@1% differs", "TPR@3% differs")


def alone(n: int) -> np.ndarray:
    """Every prompt its own cluster."""
    return np.arange(n)


def fives(n: int) -> np.ndarray:
    """Draws clusters of five."""
    return np.arange(n) // 5


def heavy(n: int, size: int = 148) -> np.ndarray:
    """One large cluster, the others alone; 148 of 500 as in a published list."""
    return np.maximum(np.arange(n) - size + 1, 0)


def tailed(n: int) -> np.ndarray:
    """Clusters of 60, 40, 27, ... 2, the others alone."""
    sizes = [60, 40, 27, 18, 12, 8, 5, 4, 3, 2, 2, 2]
    return np.repeat(np.arange(n), [*sizes, *[1] * (n - sum(sizes)), *[0] * (sum(sizes) - 12)])


@dataclass(frozen=True)
class Regime:
    """Prompts of each class, how they cluster, and what their scores are like."""

    name: str
    positives: int
    negatives: int
    of_positives: Callable[[int], np.ndarray] = alone
    of_negatives: Callable[[int], np.ndarray] = alone
    levels: int = 0
    share: float = 1.0  # of the memorized prompts whose scores are shifted at all
    areas: tuple[float, ...] = AREAS

    def truth(self, shift: float) -> tuple[float, list[float]]:
        """AUC and TPRs of new prompts."""
        if self.levels:
            ends = np.array([-np.inf, *self.edges(shift), np.inf])
            p, q = np.diff(norm.cdf(ends - shift)), np.diff(norm.cdf(ends))
            below = q.cumsum() - q
            fpr, tpr = q[::-1].cumsum(), p[::-1].cumsum()
            return p @ (below + q / 2), [tpr[fpr <= t].max(initial=0) for t in TARGETS]
        rates = [
            self.share * norm.cdf(shift - norm.ppf(1 - t)) + (1 - self.share) * t for t in TARGETS
        ]
        return self.share * norm.cdf(shift / 2**0.5) + (1 - self.share) / 2, rates

    def edges(self, shift: float) -> np.ndarray:
        """The edges between levels of equal width."""
        return np.linspace(-2, shift + 2, self.levels - 1)

    def simulate(self, shift: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Scores ``[2, N]``, labels and clusters."""
        labels = np.repeat([1, 0], [self.positives, self.negatives])
        positives, negatives = self.of_positives(self.positives), self.of_negatives(self.negatives)
        clusters = np.concatenate([positives, negatives + positives.max() + 1])
        shared = np.bincount(clusters)[clusters] > 1

        def noise() -> np.ndarray:
            own, common = rng.normal(size=(2, len(labels)))
            return np.where(shared, np.sqrt(0.5) * (common[clusters] + own), own)

        first = noise()
        both = np.stack([first, 0.7 * first + np.sqrt(1 - 0.7**2) * noise()])
        moved = labels * (rng.uniform(size=len(labels)) < self.share)
        scores = both + shift * moved
        if self.levels:
            scores = np.digitize(scores, self.edges(shift)).astype(float)
        return scores, labels, clusters


REGIMES = [
    *(
        Regime(f"{n} each{', clusters of five' * clustered}", n, n, groups, groups)
        for n in (90, 219, 500, 2000)
        for clustered, groups in ((False, alone), (True, fives))
    ),
    Regime("20 and 500", 20, 500),
    Regime("40 and 2000", 40, 2000),
    Regime("500 and 100", 500, 100),
    Regime("500 each, one cluster of 148 memorized", 500, 500, heavy),
    Regime("500 each, one cluster of 148 others", 500, 500, alone, heavy),
    Regime("500 each, one cluster of 250 memorized", 500, 500, partial(heavy, size=250)),
    Regime("500 each, clusters of 60, 40, ..., 2 memorized", 500, 500, tailed),
    Regime("500 each, 12 levels", 500, 500, levels=12),
    Regime("500 each, 12 levels, clusters of five", 500, 500, fives, fives, levels=12),
    Regime("40 and 2000, a fifth not shifted", 40, 2000, share=0.8, areas=(0.99,)),
    Regime("500 each, a fifth not shifted", 500, 500, share=0.8, areas=(0.99,)),
]


def coverage(regime: Regime, area: float, repeats: int, draws: int) -> dict[str, float]:
    """Share of intervals that hold the truth, and of equal detectors that are told apart."""
    rng = np.random.default_rng(0)
    shift = np.sqrt(2) * norm.ppf(area)
    auc, rates = regime.truth(shift)
    held: dict[str, list[bool]] = {}
    for repeat in range(repeats):
        scores, labels, clusters = regime.simulate(shift, rng)
        evaluation = Evaluation(scores[:, None], labels, clusters, TARGETS, draws, repeat)
        summary = evaluation.summaries()[0]
        low, high = np.quantile(evaluation.auc_draws[0], [0.025, 0.975])
        delong = summary.auc_delong
        assert delong is not None
        hit = {
            "AUC": summary.auc.interval.low <= auc <= summary.auc.interval.high,
            "percentiles": low <= auc <= high,
            "logit-DeLong": delong.low <= auc <= delong.high,
            "AUC differs": evaluation.auc_difference(0, 1).verdict != "not separable",
        }
        differences = evaluation.tpr_differences(0, 1)
        for target, rate in zip(TARGETS, rates, strict=True):
            if (estimate := summary.tpr[target]) is None:
                continue
            name, ends = f"TPR@{target:.0%}", estimate.interval
            hit[name] = ends.low - 1e-12 <= rate <= ends.high + 1e-12
            hit[f"{name} differs"] = differences[target].verdict != "not separable"
        for name, true in hit.items():
            held.setdefault(name, []).append(bool(true))
    return {name: float(np.mean(values)) for name, values in held.items()}


def main() -> None:
    """Prints the coverage in every regime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=400, help="simulated data sets a regime")
    parser.add_argument("--draws", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--only", default="", help="regimes whose name has this in it")
    options = parser.parse_args()
    columns = [*COLUMNS, *SIZES]
    print(f"| prompts | shift as for AUC | {' | '.join(columns)} |")
    print("|---" * (2 + len(columns)) + "|")
    rows = [
        (regime, area)
        for regime, area in product(REGIMES, AREAS)
        if area in regime.areas and options.only in regime.name
    ]
    for regime, area in tqdm(rows, desc="regimes"):
        held = coverage(regime, area, options.repeats, options.draws)
        cells = [f"{held[name]:.3f}" if name in held else "–" for name in columns]
        print(f"| {regime.name} | {area} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
