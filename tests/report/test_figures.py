"""The numbers behind figures, from a case made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from anisomem.datasets.prompts import PromptSet
from anisomem.evaluation import Evaluation, auc
from anisomem.report import figures
from baselines.controls import Random

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
        prompts=prompts,
        detectors=[Random("first"), Random("second")],
        evaluated=Evaluation(rows, prompts.labels, prompts.clusters, draws=300),
        config=SimpleNamespace(fpr_targets=[0.001, 0.01], seeds=[42]),
    )


def test_doses_are_the_memorized_prompts_between_powers_of_two(case):
    doses = figures.dose_groups(case.prompts)
    assert [(dose.low, dose.high) for dose in doses] == [(8, 16), (16, 32), (512, 1024)]
    assert [np.flatnonzero(dose.members).tolist() for dose in doses] == [
        [100, 101],
        [102, 103, 104],
        [105],
    ]


def test_dose_response_shows_rates_at_the_first_resolvable_target(case):
    figure = figures.dose_response(case)
    axis = figure.axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_allclose(lines["detected"].get_ydata(), [1 / 2, 1 / 3, 1])
    np.testing.assert_allclose(lines["reproduced"].get_ydata(), [0.75, 0.7, 1])
    np.testing.assert_allclose(lines["detected"].get_xdata() ** 2, [8 * 16, 16 * 32, 512 * 1024])
    low, high = np.array([s[:, 1] for s in axis.collections[0].get_segments()]).T
    assert (low <= [1 / 2, 1 / 3, 1]).all() and (high >= [1 / 2, 1 / 3, 1]).all()
    assert low[2] == pytest.approx(0.05)  # one of one: the rule of three
    assert "1% FPR" in figure.get_supylabel()
    plt.close(figure)

    case.config.fpr_targets = [0.001]  # which 100 negatives cannot resolve
    assert figures.dose_response(case) is None


def test_roc_has_bands_around_few_curves(case):
    figure = figures.roc(case)
    (axis,) = figure.axes
    labels = case.prompts.labels
    areas = [auc(row[0], labels) for row in case.evaluated.scores]
    (band,) = axis.collections  # the first detector is the best and the headline
    curve = next(line for line in axis.lines if line.get_label().startswith("first"))
    assert f"({areas[0]:.3f})" in curve.get_label()
    assert to_hex(band.get_facecolor()[0]) == to_hex(curve.get_color())
    x, y = curve.get_data()
    edges = band.get_paths()[0].vertices
    for fpr in (0.005, 0.01, 0.02, 0.99):  # before any false positive, and where it may step
        at = np.flatnonzero(x <= fpr + 1e-9)[-1]
        column = edges[np.abs(edges[:, 0] - fpr) < 1e-9, 1]
        assert column.min() <= y[at] <= column.max()
    plt.close(figure)
