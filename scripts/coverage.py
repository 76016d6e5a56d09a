"""How often the 95% intervals hold the truth, by simulation; prints a Markdown table.

    python scripts/coverage.py --repeats 400 > coverage.md

Scores are binormal with a known AUC and TPR. Clustered scores share half of their variance within
clusters of five prompts of one class, as near-duplicates do.
"""

import argparse
from itertools import product

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from anisomem.evaluation import (
    delong,
    logit_interval,
    percentile_interval,
    resample,
    statistics,
)

AREAS = (0.85, 0.95, 0.99, 0.998)
NEGATIVES = (90, 219, 500, 2000)
TARGET = 0.01


def simulate(area: float, n: int, clustered: bool, rng: np.random.Generator) -> tuple:
    """Scores, labels and clusters of n memorized and n other prompts."""
    labels = np.repeat([1, 0], n)
    size = 5 if clustered else 1
    clusters = np.concatenate([np.arange(n) // size, n + np.arange(n) // size])
    shared = rng.normal(size=clusters.max() + 1)[clusters]
    own = rng.normal(size=2 * n)
    noise = np.sqrt(0.5) * (shared + own) if clustered else own
    return labels * np.sqrt(2) * norm.ppf(area) + noise, labels, clusters


def coverage(area: float, n: int, clustered: bool, repeats: int, draws: int) -> dict[str, float]:
    """Share of intervals that hold the truth, by kind of interval."""
    rng = np.random.default_rng(0)
    separation = np.sqrt(2) * norm.ppf(area)
    rate = norm.cdf(separation - norm.ppf(1 - TARGET))
    held: dict[str, list[bool]] = {}
    for repeat in range(repeats):
        scores, labels, clusters = simulate(area, n, clustered, rng)
        areas, covariance = delong(scores[None], labels)
        variance = float(covariance[0, 0])
        half = norm.ppf(0.975) * np.sqrt(variance)
        found = {"DeLong": (areas[0] - half, areas[0] + half)}
        logit = logit_interval(float(areas[0]), variance, n, n)
        found["logit-DeLong"] = (logit.low, logit.high)
        for name, groups in (("bootstrap", clusters), ("row bootstrap", np.arange(2 * n))):
            resampling = resample(labels, groups, draws, seed=repeat)
            drawn = statistics(scores[None], labels, resampling, [TARGET])
            units = resampling.n_positive_clusters
            fewest = min(units, resampling.n_negative_clusters)
            interval = percentile_interval(drawn.auc[0], fewest)
            found[f"AUC {name}"] = (interval.low, interval.high)
            if TARGET * n >= 1:
                interval = percentile_interval(drawn.tpr[0, 0], units)
                found[f"TPR@1% {name}"] = (interval.low, interval.high)
        for name, (low, high) in found.items():
            truth = rate if name.startswith("TPR") else area
            held.setdefault(name, []).append(low <= truth <= high)
    return {name: float(np.mean(values)) for name, values in held.items()}


def main() -> None:
    """Prints the coverage in every regime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=400, help="simulated data sets a regime")
    parser.add_argument("--draws", type=int, default=1000, help="of each bootstrap")
    options = parser.parse_args()
    kinds = ["DeLong", "logit-DeLong", "AUC bootstrap", "AUC row bootstrap"]
    kinds += ["TPR@1% bootstrap", "TPR@1% row bootstrap"]
    print(f"| AUC | n per class | clustered | {' | '.join(kinds)} |")
    print("|---" * (3 + len(kinds)) + "|")
    regimes = list(product(AREAS, NEGATIVES, (False, True)))
    for area, n, clustered in tqdm(regimes, desc="regimes"):
        found = coverage(area, n, clustered, options.repeats, options.draws)
        cells = [f"{found[kind]:.3f}" if kind in found else "–" for kind in kinds]
        print(
            f"| {area} | {n} | {'yes' if clustered else 'no'} | {' | '.join(cells)} |", flush=True
        )


if __name__ == "__main__":
    main()
