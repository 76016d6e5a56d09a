"""The simulation of a scan's rate finds what theory says."""

import numpy as np
import pandas as pd

from scripts import fdr_simulation


def pools(seed=0):
    """Ordinary scores, and memorized ones that all stand out."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=4000), rng.normal(9, 1, 400)


def test_an_exchangeable_scan_has_the_rate_times_its_ordinary_share():
    """Benjamini and Hochberg: the expected share is rate * m0 / m exactly, up to steps of p."""
    ordinary, memorized = pools()
    for one in fdr_simulation.realised(ordinary, None, memorized, draws=400):
        assert abs(one.fdr - one.asked * 2 / 3) < 4 * one.error
        assert one.power == 1


def test_ordinary_prompts_that_score_higher_break_the_rate():
    ordinary, memorized = pools()
    for one in fdr_simulation.realised(ordinary, ordinary + 2, memorized, draws=50):
        assert one.fdr > one.asked + 10 * one.error


def test_the_table_has_both_for_each_model_and_detector():
    ordinary, memorized = pools()
    blocks = ["seen", "near_miss"]
    frame = pd.DataFrame(
        {
            "prompts": "made",
            "label": ["other"] * 600 + ["memorized"] * 100,
            "block": [blocks[i % 2] for i in range(600)] + ["repeated"] * 100,
            "mine, n=1": np.concatenate([ordinary[:600], memorized[:100]]),
        }
    )
    lines = fdr_simulation.table(frame, ["mine, n=1"], draws=5).splitlines()
    assert len(lines) == 4 and "like the calibration" in lines[2] and "near misses" in lines[3]
