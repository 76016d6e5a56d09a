"""The numbers behind the dose-response figure, from a case made by hand."""

import numpy as np
import pytest
from anisomem.baselines.controls import Random
from matplotlib import pyplot as plt

from anisomem.evaluation import Evaluation
from anisomem.report import doses
from anisomem.report.colours import colours_of


def test_doses_are_the_memorized_prompts_between_powers_of_two(case):
    found = doses.dose_groups(case.prompts)
    assert [(dose.low, dose.high) for dose in found] == [(8, 16), (16, 32), (512, 1024)]
    assert [np.flatnonzero(dose.members).tolist() for dose in found] == [
        [100, 101],
        [102, 103, 104],
        [105],
    ]


@pytest.fixture
def case(case):
    """The case, its detectors such as see the model."""
    case.detectors = [Random("first", 1), Random("second", 1)]
    return case


def test_dose_response_shows_rates_at_the_first_resolvable_target(case):
    colours = colours_of([case])
    figure = doses.dose_response(case, colours)
    assert len(figure.axes) == 2  # one a detector
    axis = figure.axes[0]
    reproduced, detected = axis.lines
    assert detected.get_color() == colours["first"]
    np.testing.assert_allclose(detected.get_ydata(), [1 / 2, 1 / 3, 1])
    np.testing.assert_allclose(reproduced.get_ydata(), [0.75, 0.7, 1])
    np.testing.assert_allclose(detected.get_xdata() ** 2, [8 * 16, 16 * 32, 512 * 1024])
    low, high = np.array([s[:, 1] for s in axis.collections[0].get_segments()]).T
    assert (low <= [1 / 2, 1 / 3, 1]).all() and (high >= [1 / 2, 1 / 3, 1]).all()
    assert low[2] == pytest.approx(0.05)  # one of one: the rule of three
    assert "1% FPR" in figure.get_supylabel()
    plt.close(figure)

    scores, labels = case.evaluated.scores, case.prompts.labels
    case.evaluated = Evaluation(scores, labels, case.prompts.clusters, [0.001], draws=100)
    assert doses.dose_response(case, colours) is None  # 100 negatives cannot resolve it


def test_controls_are_left_out(case):
    case.detectors[1] = Random("second")  # of the prompt alone
    figure = doses.dose_response(case, colours_of([case]))
    assert [axis.get_title() for axis in figure.axes] == ["first, n=1"]
    plt.close(figure)
    case.detectors = [Random("first"), Random("second")]
    assert doses.dose_response(case, colours_of([case])) is None
