"""Conformal p-values and the discoveries made with them, against their definitions."""

import numpy as np
import pytest
from scipy.stats import beta, false_discovery_control, kstest

from anisomem.evaluation.conformal import (
    calibration_needed,
    fewest_flagged,
    flagged,
    p_values,
    q_values,
    share_interval,
    threshold,
)


def test_a_p_value_is_the_rank_among_ordinary_prompts():
    p = p_values([5.0, 2.5, 0.0, 3.5], [1.0, 2.0, 3.0, 4.0])
    assert p.tolist() == [1 / 5, 3 / 5, 5 / 5, 2 / 5]


def test_order_and_company_of_scanned_prompts_do_not_matter_without_ties():
    generator = np.random.default_rng(0)
    scores, ordinary = generator.normal(size=30), generator.normal(size=50)
    p = p_values(scores, ordinary)
    assert p_values(scores[::-1], ordinary[::-1], seed=3)[::-1].tolist() == p.tolist()
    assert p_values(scores[:4], ordinary).tolist() == p[:4].tolist()


def test_equal_scores_take_every_rank_equally_often_and_by_the_seed_alone():
    ranks = np.array([5 * p_values([1.0], [1.0] * 4, seed)[0] for seed in range(2000)])
    assert ranks == pytest.approx(ranks.round())
    assert np.bincount(ranks.round().astype(int))[1:] == pytest.approx([400] * 5, abs=80)
    again = [p_values([1.0, 1.0], [1.0] * 4, 7).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_of_exchangeable_prompts_p_is_uniform():
    generator = np.random.default_rng(1)
    p = [p_values(generator.poisson(2, 1), generator.poisson(2, 19), s)[0] for s in range(3000)]
    assert np.bincount(np.rint(np.array(p) * 20).astype(int), minlength=21)[0] == 0
    assert kstest(np.array(p) - generator.random(3000) / 20, "uniform").pvalue > 0.01


def test_q_values_are_those_of_benjamini_and_hochberg():
    p = np.random.default_rng(2).random(200) ** 2
    assert q_values(p) == pytest.approx(false_discovery_control(p))
    assert q_values([0.01, 0.04, 0.03, 0.9]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.9])


def test_flagged_are_all_up_to_the_last_below_the_line():
    # 0.06 is above its own line, 2 / 4 x 0.1, and the third is below its.
    assert flagged([0.01, 0.06, 0.07, 0.8], 0.1).tolist() == [True, True, True, False]
    assert not flagged([0.2, 0.3, 0.9], 0.1).any()


def test_discoveries_are_as_often_false_as_was_asked():
    generator = np.random.default_rng(3)
    for rate in (0.1, 0.3):
        shares, found = [], []
        for _ in range(300):
            scores = np.concatenate([generator.normal(size=80), generator.normal(3, size=20)])
            chosen = flagged(p_values(scores, generator.normal(size=400)), rate)
            shares.append(chosen[:80].sum() / max(chosen.sum(), 1))
            found.append(chosen[80:].mean())
        error = np.std(shares) / 300**0.5
        # The procedure holds the rate times the share of ordinary prompts, 0.8, exactly.
        assert np.mean(shares) == pytest.approx(0.8 * rate, abs=3 * error + 0.01)
        assert np.mean(found) > 0.5


def test_what_can_be_flagged_is_known_beforehand():
    assert fewest_flagged(n=199, m=1000, rate=0.1) == 50
    assert fewest_flagged(n=10_000, m=1000, rate=0.1) == 1
    for n, m, rate in ((199, 1000, 0.1), (49, 30, 0.2), (20, 7, 0.05)):
        k = fewest_flagged(n, m, rate)
        least = 1 / (n + 1)
        p = np.ones(m)
        p[: min(k, m)] = least
        assert flagged(p, rate).sum() == (k if k <= m else 0)
        p[k - 1 :] = 1
        assert not flagged(p, rate).any()
        assert calibration_needed(m, rate, k) <= n
    assert calibration_needed(1000, 0.1) == 9999


def test_the_rate_of_a_threshold_is_distributed_as_said():
    generator = np.random.default_rng(4)
    rates = []
    for _ in range(2000):
        made = threshold(generator.random(199), 0.05)
        rates.append(1 - made.value)  # of a uniform score
    interval = made.realised
    assert np.mean(rates) == pytest.approx(10 / 200, abs=0.002)
    inside = np.mean([interval.low <= rate <= interval.high for rate in rates])
    assert inside == pytest.approx(0.95, abs=0.02)


def test_a_threshold_is_a_score_that_few_enough_exceed():
    ordinary = np.arange(100.0)
    made = threshold(ordinary, 0.05)
    assert made.value == 95 and (ordinary > made.value).sum() == 4
    with pytest.raises(ValueError, match=r"0.001 needs 999 ordinary prompts.*has 100"):
        threshold(ordinary, 0.001)


@pytest.mark.parametrize("scores", [[np.nan], [np.inf], [[1.0]]])
def test_what_is_no_score_is_refused(scores):
    with pytest.raises(ValueError, match="finite"):
        p_values(scores, [1.0])
    with pytest.raises(ValueError, match="finite"):
        p_values([1.0], scores)


def test_no_calibration_and_no_p_values_are_refused():
    with pytest.raises(ValueError, match="got none"):
        p_values([1.0], [])
    with pytest.raises(ValueError, match="p-values"):
        q_values([0.0, 0.5])
    with pytest.raises(ValueError, match="fraction"):
        flagged([0.5], 1.5)


def test_the_interval_of_a_share_is_clopper_and_pearsons():
    # Where none was found, a share above the upper end finds none with probability below 2.5%.
    none = share_interval(0, 40)
    assert none.low == 0 and none.high == pytest.approx(1 - 0.025 ** (1 / 40))
    some = share_interval(3, 40)
    assert (some.low, some.high) == pytest.approx((beta.ppf(0.025, 3, 38), beta.ppf(0.975, 4, 37)))
    with pytest.raises(ValueError, match="k"):
        share_interval(5, 4)


def test_a_prompt_on_the_line_is_flagged_whatever_rounding_makes_of_it():
    """With n + 1 = 10 m / k the k-th p-value is the rate's own line, k * rate / m."""
    for m in range(1, 200):
        p = np.ones(m)
        p[0] = 0.1 / m
        assert flagged(p, 0.1)[0], m
        assert flagged([1 / (10 * m)] + [1] * (m - 1), 0.1)[0], m
