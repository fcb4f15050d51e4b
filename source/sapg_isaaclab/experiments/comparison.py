"""Algorithms beside one another: what their runs end at, how sure that is, and whether they differ."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np

from sapg_isaaclab.experiments import figures
from sapg_isaaclab.experiments.tables import Table
from sapg_isaaclab.runs.statistics import (
    interquartile_mean,
    mann_whitney,
    mean_and_standard_error,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    welch,
)


def table(scores: dict[str, list[float]]) -> Table:
    """One row for each algorithm.

    Args:
        scores: One number per run, by algorithm.

    Returns:
        Runs, mean with standard error, interquartile mean with its 95 % bootstrap interval, and range.
    """
    rows = []
    for name, values in scores.items():
        mean, error = mean_and_standard_error(values)
        low, high = stratified_bootstrap(np.asarray(values), interquartile_mean)
        middle = f"{interquartile_mean(values):.4g} [{low:.4g}, {high:.4g}]"
        spread = f"{min(values):.4g}, {max(values):.4g}"
        rows.append((name, str(len(values)), f"{mean:.4g} ± {error:.2g}", middle, spread))
    return Table(("", "runs", "mean ± standard error", "interquartile mean [95 %]", "from, to"), rows)


def pairs(scores: dict[str, list[float]]) -> Table:
    """One row for each pair of algorithms.

    Args:
        scores: One number per run, by algorithm; at least two runs each.

    Returns:
        Difference of the means, p of Welch's and of Mann and Whitney's test, and the probability that a run of the
        first is better than one of the second.
    """
    rows = []
    for (name, values), (other, others) in itertools.combinations(scores.items(), 2):
        difference = float(np.mean(values) - np.mean(others))
        tests = [f"{test(values, others).p_value:.3g}" for test in (welch, mann_whitney)]
        rows.append((f"{name} - {other}", f"{difference:+.4g}", *tests,
                     f"{probability_of_improvement(np.asarray(values), np.asarray(others)):.2f}"))  # fmt: skip
    return Table(("", "difference", "Welch p", "Mann-Whitney p", "P(first better)"), rows)


def plot_profiles(scores: dict[str, list[float]], label: str, path: str | pathlib.Path) -> None:
    """Draw the share of runs above each score, with 95 % bootstrap bands.

    Args:
        scores: One number per run, by algorithm.
        label: What the numbers are.
        path: Picture to write; the ending chooses the format, and without one it is PNG and SVG.
    """
    everything = list(itertools.chain(*scores.values()))
    margin = 0.02 * (max(everything) - min(everything)) or 1.0
    thresholds = np.linspace(min(everything) - margin, max(everything) + margin, 200)
    figure, axes = figures.begin()
    for index, (name, values) in enumerate(scores.items()):
        low, high = stratified_bootstrap(np.asarray(values), lambda drawn: performance_profile(drawn, thresholds))
        axes.plot(thresholds, performance_profile(np.asarray(values), thresholds), color=f"C{index}", label=name)
        axes.fill_between(thresholds, low, high, color=f"C{index}", alpha=0.2, linewidth=0)
    axes.set_xlabel(label)
    axes.set_ylabel("share of runs above")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figures.write(figure, path)
