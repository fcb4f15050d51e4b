"""Statistics by hand, and against scipy and the numbers of rliable 1.2.0."""

import math

import numpy as np
import pytest
from scipy import stats

from sapg_isaaclab.runs.statistics import (
    interquartile_mean,
    mann_whitney,
    mean_and_standard_error,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    summary,
    welch,
)

GENERATOR = np.random.default_rng(3)
OURS, THEIRS = GENERATOR.normal(1.0, 2.0, (11, 3)), GENERATOR.normal(0.5, 1.0, (7, 3))


def test_mean_and_error_by_hand():
    # mean 5; squared deviations 9 + 1 + 1 + 9 = 20; sd = sqrt(20 / 3); se = sd / 2
    figures = summary([2.0, 4.0, 6.0, 8.0])
    assert figures == pytest.approx(
        {"mean": 5, "standard_deviation": (20 / 3) ** 0.5, "standard_error": (20 / 3) ** 0.5 / 2, "min": 2, "max": 8},
        rel=1e-14,
    )
    assert summary([3.0])["standard_error"] == summary([3.0])["standard_deviation"] == 0.0
    # over the first axis: sd of 1, 2, 3 is 1, of 10, 20, 30 is 10
    mean, error = mean_and_standard_error([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    np.testing.assert_allclose(mean, [2, 20], rtol=1e-14)
    np.testing.assert_allclose(error, np.array([1, 10]) / math.sqrt(3), rtol=1e-14)


def test_mean_and_error_are_those_of_scipy():
    mean, error = mean_and_standard_error(OURS)
    np.testing.assert_allclose(mean, stats.tmean(OURS, axis=0), rtol=1e-12)
    np.testing.assert_allclose(error, stats.sem(OURS, axis=0), rtol=1e-12)


def test_interquartile_mean_by_hand_and_by_scipy():
    assert interquartile_mean([8.0, 1.0, 2.0, 900.0, 4.0, 3.0, 5.0, -70.0]) == 3.5  # of 2, 3, 4, 5
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0  # floor(3 / 4): nothing is cut
    assert interquartile_mean(OURS) == pytest.approx(stats.trim_mean(OURS, 0.25, axis=None), rel=1e-12)


def test_probability_of_improvement_by_hand_and_by_ranks():
    # 3 beats 1 and 2 and equals 3; 0 beats none: 2.5 of 6
    assert probability_of_improvement([3.0, 0.0], [1.0, 2.0, 3.0]) == pytest.approx(2.5 / 6, rel=1e-14)
    u = stats.mannwhitneyu(OURS, THEIRS, axis=0).statistic
    assert probability_of_improvement(OURS, THEIRS) == pytest.approx((u / (11 * 7)).mean(), rel=1e-12)
    assert probability_of_improvement(OURS, THEIRS) + probability_of_improvement(THEIRS, OURS) == pytest.approx(1.0)


def test_performance_profile_by_hand():
    shares = performance_profile(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 1.0, 2.5, 4.0]))
    assert shares.tolist() == [1.0, 0.75, 0.5, 0.0]  # strictly above
    expected = stats.ecdf(OURS.ravel()).sf.evaluate(np.linspace(-3, 5, 9))
    np.testing.assert_allclose(performance_profile(OURS, np.linspace(-3, 5, 9)), expected, rtol=1e-12)


def test_bootstrap_draws_within_tasks_and_repeats_itself():
    # tasks of constant scores leave nothing to draw: drawn across tasks, the mean would scatter
    low, high = stratified_bootstrap(np.array([[0.0, 100.0]] * 5), np.mean, repetitions=50)
    assert low == high == 50.0
    interval = stratified_bootstrap(OURS, interquartile_mean)
    assert interval == stratified_bootstrap(OURS, interquartile_mean)
    assert interval.low < interquartile_mean(OURS) < interval.high


def test_bootstrap_of_a_mean_has_the_exact_quantiles():
    # of 0 and 1 drawn twice: means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4
    low, high = stratified_bootstrap(np.array([0.0, 1.0]), np.mean, confidence=0.4, repetitions=4000)
    assert (low, high) == (0.5, 0.5)
    low, high = stratified_bootstrap(np.array([0.0, 1.0]), np.mean, confidence=0.6, repetitions=4000)
    assert (low, high) == (0.0, 1.0)
    # of many normal numbers: mean +- 1.96 standard errors
    values = np.random.default_rng(0).normal(size=400)
    error = values.std() / 20
    low, high = stratified_bootstrap(values, np.mean, repetitions=4000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_bands_have_the_shape_of_the_statistic():
    thresholds = np.linspace(-2, 4, 5)
    low, high = stratified_bootstrap(OURS, lambda drawn: performance_profile(drawn, thresholds), repetitions=100)
    shares = performance_profile(OURS, thresholds)
    assert low.shape == high.shape == (5,) and (low <= shares).all() and (shares <= high).all()


def test_welch_by_hand():
    # means 2 and 4, variances 1 and 4, three each: t = -2 / sqrt(1/3 + 4/3) = -2 / sqrt(5/3);
    # degrees of freedom (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 50 / 17
    found = welch([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.statistic == pytest.approx(-2 / math.sqrt(5 / 3), rel=1e-12)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 / math.sqrt(5 / 3), 50 / 17), rel=1e-12)
    assert welch([1.0, 1.0], [1.0, 1.0]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least two"):
        welch([1.0], [1.0, 2.0])


def test_mann_whitney_by_hand():
    # the first is above the second in all 9 pairs; of the 20 orders of six numbers two are so extreme
    assert mann_whitney([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx((9.0, 2 / 20), rel=1e-12)


@pytest.mark.parametrize("function", [summary, mean_and_standard_error, interquartile_mean])
def test_no_numbers_are_an_error(function):
    with pytest.raises(ValueError, match="no numbers"):
        function([])


def test_numbers_of_rliable():
    ours = np.array([[1, 20, 0.5], [2, 25, 0.25], [4, 10, 0.75], [8, 40, 0.125], [16, 35, 1.0]])
    theirs = np.array([[3, 15, 0.5], [2, 30, 0.1], [1, 5, 0.9]])
    # metrics.aggregate_iqm, metrics.probability_of_improvement
    assert interquartile_mean(ours) == pytest.approx(6.972222222222222, rel=1e-12)
    assert probability_of_improvement(ours, theirs) == pytest.approx(0.6777777777777777, rel=1e-12)
    # library.get_interval_estimates, 20,000 draws of its own: the ends are among a few hundred possible means
    low, high = stratified_bootstrap(ours, interquartile_mean, repetitions=20_000)
    assert low == pytest.approx(4.08333333, abs=0.1) and high == pytest.approx(11.27777778, abs=0.1)
