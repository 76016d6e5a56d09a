"""The detectors that sweeps record and compare, as configuration nodes.

What is made of their components is in the files of the sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from anisomem.benchmark.results import Results
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Array
from anisomem.detection.weighted import PUBLISHED

Node = dict[str, Any]

METRIC = "anisomem.detection.anisotropy.Anisotropy"
STEPS = 50  # of the DDIM schedule that ``step:i`` counts


def metric(**settings: Any) -> Node:
    """The metric, its defaults changed by ``settings``."""
    return {"_target_": METRIC, "n": 1, **settings}


def weightings(stands_for: str | None) -> dict[str, str | list[float]]:
    """The weightings shown beside each other, by name; the first is the model's own.

    A model without published weights has (1, 1), which the paper also recommends.
    """
    published = stands_for in PUBLISHED
    own: dict[str, str | list[float]] = (
        {"published": "published"} if published else {"(1, 1)": [1.0, 1.0]}
    )
    return own | {
        "equal": "equal",
        "fitted": "fitted",
        "norm alone": [1.0, 0.0],
        "cosine alone": [0.0, 1.0],
    }


def crossed(
    axes: Mapping[str, Sequence[Any]], stands_for: str | None, without: Sequence[str] = ()
) -> dict[str, Node]:
    """Every combination of the settings in ``axes`` under every weighting.

    Arguments:
        axes: Setting of the metric to its values.
        stands_for: The published model whose weights apply.
        without: Weightings to leave out.
    """
    nodes = {}
    for values in product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        for name, weights in weightings(stands_for).items():
            if name not in without:
                nodes["; ".join([*map(str, values), name])] = metric(**settings, weights=weights)
    return nodes


def components(results: Results, detector: Anisotropy) -> Array:
    """The metric's norm and cosine of every prompt, ``[S, N, 2]`` for S noise seeds."""
    recorded = [results.recorded(seed) for seed in results.config.seeds]
    names = (detector.norm_name, detector.cos_name)
    return np.array([np.stack([r.mean(x, detector.n) for x in names], axis=1) for r in recorded])
