"""Learning curves: a number of every run against environment steps, mean and standard error over seeds."""

from __future__ import annotations

import pathlib

import numpy as np

from sapg_isaaclab.experiments import figures
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.statistics import mean_and_standard_error


def series(run: str | pathlib.Path, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """One number of a run over time.

    Args:
        run: Run folder, or its ``metrics.jsonl``.
        tag: Name of the number, such as ``Leader/return``.

    Returns:
        Environment steps and values, both of shape (rows,); rows without the number are left out.

    Raises:
        ValueError: If there is no such file or no such number in it.
    """
    rows = metrics.read(run)
    points = [(row["env_steps"], row[tag]) for row in rows if row.get(tag) is not None]
    if not points:
        known = sorted({key for row in rows for key in row})
        raise ValueError(f"{run} has no number {tag!r}; it has {', '.join(known)}")
    steps, values = zip(*points)
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def on_common_steps(curves: list[tuple[np.ndarray, np.ndarray]], points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Curves interpolated at the same steps, on the stretch that all of them cover.

    Args:
        curves: Steps and values of each run.
        points: Number of equidistant steps.

    Returns:
        Steps (points,) and values (runs, points).

    Raises:
        ValueError: If the runs have no steps in common.
    """
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    if first > last:
        raise ValueError("the runs have no environment steps in common")
    grid = np.linspace(first, last, points)
    return grid, np.stack([np.interp(grid, *curve) for curve in curves])


def final_value(run: str | pathlib.Path, tag: str, share: float = 0.1) -> float:
    """One number for a run: the mean over the end of its training.

    Args:
        run: Run folder, or its ``metrics.jsonl``.
        tag: Name of the number.
        share: Part of the rows that counts, in (0, 1].

    Returns:
        Mean over the last rows, at least one.

    Raises:
        ValueError: If there is no such file or no such number in it.
    """
    _, values = series(run, tag)
    return float(values[-max(1, round(share * len(values))) :].mean())


def plot(groups: dict[str, list[str]], tag: str, path: str | pathlib.Path) -> None:
    """Draw mean and standard error of each group of runs, and every run as a thin line.

    Args:
        groups: Run folders by the label of their group.
        tag: Name of the number.
        path: Picture to write; the ending chooses the format, and without one it is PNG and SVG.

    Raises:
        ValueError: If a run cannot be read or the runs of a group have no steps in common.
    """
    figure, axes = figures.begin()
    for index, (label, runs) in enumerate(groups.items()):
        curves = [series(run, tag) for run in runs]
        color = f"C{index}"
        for steps, values in curves:
            axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.5)
        steps, values = on_common_steps(curves)
        mean, error = mean_and_standard_error(values)
        count = f"{len(runs)} seeds, mean and standard error" if len(runs) > 1 else "1 seed"
        axes.plot(steps, mean, color=color, linewidth=2.0, label=f"{label} ({count})")
        axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(tag)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figures.write(figure, path)
