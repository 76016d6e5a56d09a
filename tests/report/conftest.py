"""A case made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from anisomem.baselines.controls import Random

from anisomem.datasets.prompts import PromptSet
from anisomem.evaluation import Evaluation

# Of the memorized prompts: repetitions, reproduction rate, score. 98.5 is the lowest score that
# lets one of a hundred negatives (0 to 99) pass.
MEMORIZED = [
    (9, 0.5, 98.5),
    (16, 1, 97),
    (17, 0.5, 50),
    (32, 1, 200),
    (20, 0.6, 0),
    (1024, 1, 101),
]


@pytest.fixture
def case():
    repetitions, rates, scores = zip(*MEMORIZED, strict=True)
    n = 100 + len(MEMORIZED)
    prompts = PromptSet(
        "made",
        [f"p{i}" for i in range(n)],
        ["x"] * n,
        np.repeat([0, 1], [100, len(MEMORIZED)]),
        np.arange(n),
        ["b"] * n,
        ["k"] * n,
        np.array([40] * 50 + [0] * 50 + list(repetitions)),
        np.array([0.0] * 100 + list(rates)),
    )
    rows = np.stack([[*np.arange(100.0), *scores], -np.arange(n, dtype=float)])[:, None]
    return SimpleNamespace(
        name="made",
        title="a model on made",
        prompts=prompts,
        detectors=[Random("first"), Random("second")],
        scored=SimpleNamespace(refused={}),
        evaluated=Evaluation(rows, prompts.labels, prompts.clusters, draws=300),
        config=SimpleNamespace(fpr_targets=[0.001, 0.01], seeds=[42]),
    )


@pytest.fixture
def many():
    """25 detectors at n = 1 and 4 on 150 prompts a class; the later, the better."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 150)
    prompts = PromptSet(
        "many",
        [f"p{i}" for i in range(300)],
        ["x"] * 300,
        labels,
        np.arange(300),
        ["b"] * 300,
        ["k"] * 300,
        np.where(labels, 2 ** (np.arange(300) % 5 + 2), 0),
    )
    detectors = [Random(f"detector_{i:02}", n) for i in range(25) for n in (1, 4)]
    shared = rng.normal(size=300)
    rows = [
        labels * i / 8 * d.n**0.1 + shared + 0.5 * rng.normal(size=300)
        for d in detectors
        for i in [int(d.name[-2:])]
    ]
    return SimpleNamespace(
        name="many",
        title="a model on many",
        prompts=prompts,
        detectors=detectors,
        scored=SimpleNamespace(refused={}),
        evaluated=Evaluation(np.array(rows)[:, None], labels, prompts.clusters, draws=300),
        config=SimpleNamespace(fpr_targets=[0.01], seeds=[42]),
    )
