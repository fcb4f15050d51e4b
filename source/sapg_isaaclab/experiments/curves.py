"""Learning curves: a number of every run against environment steps, mean and standard error over seeds."""

from __future__ import annotations

import json
import pathlib

import numpy as np


def read(run: str | pathlib.Path, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one number of a run over time.

    Args:
        run: Run folder, or its ``metrics.jsonl``.
        tag: Name of the number, such as ``Leader/return``.

    Returns:
        Environment steps and values, both of shape (rows,); rows without the number are left out.

    Raises:
        ValueError: If there is no such file or no such number in it.
    """
    path = pathlib.Path(run)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{run} is no run folder: there is no {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    points = [(row["env_steps"], row[tag]) for row in rows if row.get(tag) is not None]
    if not points:
        known = sorted({key for row in rows for key in row})
        raise ValueError(f"{path} has no number {tag!r}; it has {', '.join(known)}")
    steps, values = zip(*points)
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def mean_and_error(curves: list[tuple[np.ndarray, np.ndarray]], points: int = 200) -> tuple[np.ndarray, ...]:
    """Mean and standard error over runs, on the stretch of steps that all of them cover.

    The standard error is the sample standard deviation over the root of the number of runs. (The band of the paper is
    printed as a sum without that division and is not used.)

    Args:
        curves: Steps and values of each run.
        points: Number of equidistant steps to interpolate at.

    Returns:
        Steps, means and standard errors, each of shape (points,). The error of a single run is 0.

    Raises:
        ValueError: If the runs have no steps in common.
    """
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    if first > last:
        raise ValueError("the runs have no environment steps in common")
    grid = np.linspace(first, last, points)
    values = np.stack([np.interp(grid, *curve) for curve in curves])
    count = len(curves)
    error = values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(points)
    return grid, values.mean(axis=0), error


def plot(groups: dict[str, list[str]], tag: str, path: str | pathlib.Path) -> None:
    """Draw mean and standard error of each group of runs, and every run as a thin line.

    Args:
        groups: Run folders by the label of their group.
        tag: Name of the number.
        path: Picture to write; the ending chooses the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for index, (label, runs) in enumerate(groups.items()):
        curves = [read(run, tag) for run in runs]
        color = f"C{index}"
        for steps, values in curves:
            axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.5)
        steps, mean, error = mean_and_error(curves)
        count = f"{len(runs)} seeds, mean and standard error" if len(runs) > 1 else "1 seed"
        axes.plot(steps, mean, color=color, linewidth=2.0, label=f"{label} ({count})")
        axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(tag)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
