"""Return against number of environments: does more data of the same policy help (Figure 2 of the paper, in small)?

Every run has the same number of updates, and each update sees T steps of all environments: with four times the
environments a run is given four times the data. Whoever uses data well cannot get worse from left to right.
"""

from __future__ import annotations

import collections
import pathlib
from typing import Any

from sapg_isaaclab.experiments import figures, references
from sapg_isaaclab.experiments.point_runs import Setting, outcome
from sapg_isaaclab.experiments.tables import Table
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.runs.statistics import mean_and_standard_error


def settings(env: str, algorithms: list[str], sizes: list[int], seeds: list[int], iterations: int) -> list[Setting]:
    """All runs of a study, small ones first.

    Args:
        env: Name of the environment.
        algorithms: Names of the algorithms.
        sizes: Numbers of environments.
        seeds: Seeds.
        iterations: Number of updates of each run.

    Returns:
        One setting per run.

    Raises:
        ValueError: If a number of environments does not suit an algorithm.
    """
    runs = [Setting(env, name, size, seed, iterations) for size in sizes for seed in seeds for name in algorithms]
    for run in runs:
        run.agent_cfg()
    return runs


def collect(runs: dict[Setting, RunFolder]) -> dict[str, Any]:
    """Put the numbers of a study together.

    Args:
        runs: Folder of every run; all on the same environment and of the same length.

    Returns:
        Plain values: ``env``, ``iterations``, ``references``, one entry of ``runs`` per run with its algorithm,
        num_envs, seed and :func:`~sapg_isaaclab.experiments.point_runs.outcome`, the commits of all, and the packages
        of the first.
    """
    first = next(iter(runs))
    commits = sorted({(run.manifest()["git"] or {}).get("commit") or "unknown" for run in runs.values()})
    return {
        "env": first.env,
        "iterations": first.iterations,
        "references": {name: references.measure(first.env, name)._asdict() for name in references.BEHAVIOURS},
        "runs": [
            {"algorithm": setting.algorithm, "num_envs": setting.num_envs, "seed": setting.seed, **outcome(run)}
            for setting, run in sorted(runs.items(), key=lambda item: _order(item[0]))
        ],
        "commits": commits,
        "packages": runs[first].manifest()["packages"],
    }


def lines(data: dict[str, Any], quantity: str) -> dict[str, dict[int, tuple[float, float]]]:
    """Mean and standard error of every point of the figure.

    Args:
        data: What :func:`collect` returned.
        quantity: ``return`` or ``successes``.

    Returns:
        By algorithm, then by number of environments.
    """
    values: dict[str, dict[int, list[float]]] = {}
    for run in data["runs"]:
        values.setdefault(run["algorithm"], {}).setdefault(run["num_envs"], []).append(run[quantity])

    def point(numbers: list[float]) -> tuple[float, float]:
        mean, error = mean_and_standard_error(numbers)
        return float(mean), float(error)

    return {name: {size: point(sizes[size]) for size in sorted(sizes)} for name, sizes in values.items()}


def table(data: dict[str, Any]) -> Table:
    """The study as a table.

    Args:
        data: What :func:`collect` returned.

    Returns:
        One row per algorithm: return and, in brackets, successes, for each number of environments.
    """
    returns, successes = lines(data, "return"), lines(data, "successes")
    sizes = sorted({run["num_envs"] for run in data["runs"]})
    rows = []
    for name, points in returns.items():
        cells = []
        for size in sizes:
            mean, error = points.get(size, (float("nan"), 0.0))
            share, share_error = successes[name].get(size, (float("nan"), 0.0))
            cells.append(f"{mean:.2f} ± {error:.2f} ({share:.3f} ± {share_error:.3f})")
        rows.append((name, *cells))
    return Table(("algorithm", *(f"{size:,}" for size in sizes)), rows)


def plot(data: dict[str, Any], path: pathlib.Path) -> None:
    """Draw the figure: return and successes against the number of environments.

    Args:
        data: What :func:`collect` returned.
        path: Picture to write; the ending chooses the format, and without one it is PNG and SVG.
    """
    figure, panels = figures.begin(1, 2, size=(10.0, 4.2))
    for axes, quantity in zip(panels, ("return", "successes")):
        for index, (name, points) in enumerate(lines(data, quantity).items()):
            means, errors = zip(*points.values())
            axes.errorbar(list(points), means, errors, color=f"C{index}", marker="o", capsize=3, label=name)
            seeds = [(run["num_envs"], run[quantity]) for run in data["runs"] if run["algorithm"] == name]
            axes.scatter(*zip(*seeds), color=f"C{index}", s=8, alpha=0.4, linewidths=0)
        sizes = sorted({run["num_envs"] for run in data["runs"]})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("number of environments")
        axes.grid(alpha=0.3)
    for name, style in zip(references.BEHAVIOURS, (":", "-.", "--")):
        value = data["references"][name]["mean"]
        panels[0].axhline(value, color="grey", linestyle=style, linewidth=1.0)
        axes, text = panels[0], f"{name} {value:.1f}"
        where = {"xycoords": ("axes fraction", "data"), "xytext": (-4, 2), "textcoords": "offset points"}
        axes.annotate(text, (1.0, value), **where, ha="right", fontsize=8, color="dimgrey")
    panels[0].set_ylabel("return of an episode")
    panels[1].set_ylabel("share of episodes that are a success")
    panels[1].set_ylim(-0.03, 1.03)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    counts = collections.Counter((run["algorithm"], run["num_envs"]) for run in data["runs"]).values()
    seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    figure.suptitle(f"{data['env']}: {seeds} seeds, {data['iterations']} updates each, mean and standard error")
    figures.write(figure, path)


def _order(setting: Setting) -> tuple[str, int, int]:
    return setting.algorithm, setting.num_envs, setting.seed
