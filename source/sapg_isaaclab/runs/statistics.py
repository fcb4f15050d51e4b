"""Statistics of runs, seeds and episodes: every mean, error, interval and test that this project reports.

A matrix of scores has shape (R, K): R runs (seeds) of each of K tasks. Interquartile mean, stratified bootstrap,
probability of improvement and performance profile are those of "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (Agarwal et al., 2021) and of its library ``rliable``, with which the tests compare them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A confidence interval."""

    low: np.ndarray
    """Lower end, of the statistic's shape."""

    high: np.ndarray
    """Upper end, of the statistic's shape."""


class Comparison(NamedTuple):
    """Outcome of a two-sided test of two samples."""

    statistic: float
    """Welch's t, or Mann and Whitney's U of the first sample."""

    p_value: float
    """Probability of a statistic at least as extreme if there were no difference."""


def mean_and_standard_error(values: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and its standard error over the first axis.

    Args:
        values: Samples (n, ...), at least one: a number, or a whole curve, of each seed or episode.

    Returns:
        Means and standard errors (...): the sample standard deviation over the root of n; 0 where n is 1. (The band of
        the paper is printed as a sum without that division and is not used.)

    Raises:
        ValueError: If there is no sample.
    """
    samples = _samples(values)
    count = len(samples)
    deviation = samples.std(axis=0, ddof=1) if count > 1 else np.zeros(samples.shape[1:])
    return samples.mean(axis=0), deviation / math.sqrt(count)


def summary(values: Sequence[float]) -> dict[str, float]:
    """One list of numbers in five.

    Args:
        values: One number per episode or seed, at least one.

    Returns:
        ``mean``, ``standard_error``, ``standard_deviation`` (of the sample; 0 for a single number), ``min``, ``max``.

    Raises:
        ValueError: If there is no number.
    """
    samples = _samples(values)
    mean, error = mean_and_standard_error(samples)
    return {
        "mean": float(mean),
        "standard_error": float(error),
        "standard_deviation": float(samples.std(ddof=1)) if len(samples) > 1 else 0.0,
        "min": float(samples.min()),
        "max": float(samples.max()),
    }


def interquartile_mean(scores: Sequence[float] | np.ndarray) -> float:
    """Mean of the middle half of all scores, which one lucky or broken run does not move.

    Args:
        scores: Scores of any shape, n in all. The lowest and the highest ``floor(n / 4)`` are left out.

    Returns:
        The mean of the rest.

    Raises:
        ValueError: If there is no score.
    """
    ordered = np.sort(_samples(scores), axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def stratified_bootstrap(
    scores: np.ndarray,
    statistic: Callable[[np.ndarray], float | np.ndarray],
    *,
    confidence: float = 0.95,
    repetitions: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic, from runs drawn anew with replacement within each task.

    Args:
        scores: Scores (R, K), or (R,) of a single task.
        statistic: Function of a matrix of that shape.
        confidence: Share of the drawn statistics that lies inside.
        repetitions: How often to draw.
        seed: Seed of the draws.

    Returns:
        The interval; the same at every call.

    Raises:
        ValueError: If there is no score.
    """
    matrix = _samples(scores)
    columns = matrix.reshape(len(matrix), -1)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(repetitions):
        rows = generator.integers(len(columns), size=columns.shape)
        drawn.append(statistic(np.take_along_axis(columns, rows, axis=0).reshape(matrix.shape)))
    low, high = np.quantile(np.asarray(drawn), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(low, high)


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> float:
    """Probability that a random run is better than a random run of another algorithm, mean over tasks.

    Args:
        scores: Scores (R, K), or (R,) of a single task.
        others: The other algorithm's (S, K) or (S,).

    Returns:
        Share of pairs in which the first is higher; an equal pair counts half.

    Raises:
        ValueError: If they have no score, or not the same tasks.
    """
    ours, theirs = _samples(scores), _samples(others)
    if ours.shape[1:] != theirs.shape[1:]:
        raise ValueError(f"scores of {ours.shape[1:]} tasks cannot be compared with scores of {theirs.shape[1:]}")
    difference = ours[:, None] - theirs[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs above each threshold: the whole distribution of scores as a falling line.

    Args:
        scores: Scores of any shape.
        thresholds: Thresholds (P,).

    Returns:
        Shares (P,).

    Raises:
        ValueError: If there is no score.
    """
    return (_samples(scores).reshape(-1, 1) > np.asarray(thresholds)).mean(axis=0)


def welch(values: Sequence[float], others: Sequence[float]) -> Comparison:
    """Welch's t-test: do the means of two samples differ, whatever their variances?

    Args:
        values: First sample, at least two numbers.
        others: Second sample, at least two numbers.

    Returns:
        t, which is above 0 where the first mean is higher, and p; p is 1 where all numbers are equal.

    Raises:
        ValueError: If a sample has fewer than two numbers.
    """
    from scipy.stats import ttest_ind  # late: it takes half a second

    if min(len(values), len(others)) < 2:
        raise ValueError("Welch's test needs at least two numbers of each kind")
    if len({*values, *others}) == 1:
        return Comparison(0.0, 1.0)
    found: Any = ttest_ind(values, others, equal_var=False)
    return Comparison(float(found.statistic), float(found.pvalue))


def mann_whitney(values: Sequence[float], others: Sequence[float]) -> Comparison:
    """Mann and Whitney's test: does one sample tend to be higher, by ranks alone?

    Args:
        values: First sample, at least one number.
        others: Second sample, at least one number.

    Returns:
        U of the first sample, and p: exact for small samples without ties, otherwise from the normal distribution.

    Raises:
        ValueError: If a sample is empty.
    """
    from scipy.stats import mannwhitneyu

    found: Any = mannwhitneyu(_samples(values), _samples(others))
    return Comparison(float(found.statistic), float(found.pvalue))


def _samples(values: Sequence[float] | np.ndarray) -> np.ndarray:
    samples = np.asarray(values, dtype=np.float64)
    if samples.size == 0 or samples.ndim == 0:
        raise ValueError("there are no numbers to make statistics of")
    return samples
