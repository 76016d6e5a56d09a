"""The numbers behind the dose-response figure, from a case made by hand."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from anisomem.report import doses


def test_doses_are_the_memorized_prompts_between_powers_of_two(case):
    found = doses.dose_groups(case.prompts)
    assert [(dose.low, dose.high) for dose in found] == [(8, 16), (16, 32), (512, 1024)]
    assert [np.flatnonzero(dose.members).tolist() for dose in found] == [
        [100, 101],
        [102, 103, 104],
        [105],
    ]


def test_dose_response_shows_rates_at_the_first_resolvable_target(case):
    figure = doses.dose_response(case)
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
    assert doses.dose_response(case) is None


def test_mean_scores_are_in_standard_deviations_of_the_negatives(case):
    figure = doses.dose_response(case)
    panels = len(case.detectors)
    own = figure.axes[panels:][-panels:][0]  # beside the first panel
    (line,) = own.lines
    means = np.array([(98.5 + 97) / 2, (50 + 200 + 0) / 3, 101])
    spread = np.sqrt((100**2 - 1) / 12)  # of 0 to 99, whose mean is 49.5
    means_drawn = line.get_ydata()
    np.testing.assert_allclose(means_drawn, (means - 49.5) / spread)
    *bars, alone = own.collections[0].get_segments()
    for bar, mean in zip(bars, means_drawn, strict=False):
        assert bar[0, 1] < mean < bar[1, 1]
    assert len(bars) == 2 and len(alone) == 0  # one prompt has no spread
    plt.close(figure)
