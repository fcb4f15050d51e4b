"""Tables and figures of a suite, from what :mod:`~sapg_isaaclab.experiments.evidence` has collected."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from sapg_isaaclab.experiments import figures
from sapg_isaaclab.experiments.curves import on_common_steps
from sapg_isaaclab.experiments.suites import PUBLISHED, SCALES, TASKS
from sapg_isaaclab.experiments.tables import Table
from sapg_isaaclab.runs.statistics import (
    interquartile_mean,
    mann_whitney,
    mean_and_standard_error,
    probability_of_improvement,
    stratified_bootstrap,
)

NOTHING = "–"  # noqa: RUF001
"""Where there is no number."""


def table(data: dict[str, Any]) -> Table:
    """The numbers at the end of training, or of Figures 7 and 8.

    Args:
        data: What ``collect`` returned.

    Returns:
        A row for each line; at the paper's scale, another with the paper's numbers. A column for each task, or for each
        task and number of environments. In a cell: mean and standard error over seeds of the leader's mean in training,
        then that of the fresh evaluations, then the number of seeds. For Figures 7 and 8: a row for each set of states
        and, over seeds, the number of principal components that hold 90 % of its variance, or the error of the
        autoencoder with eight hidden units (or the most, if fewer).
    """
    if data["diversity"]:
        return _diversity_table(data)
    columns = _columns(data)
    many = len({size for _, size in columns}) > 1
    heads = [
        f"{data['tasks'][task]}, {data['numbers'][task]}" + (f", N = {size:,}" if many else "")
        for task, size in columns
    ]
    rows = []
    for line, label in data["lines"].items():
        rows.append((label, *(_cell(_runs(data, task, line, size)) for task, size in columns)))
        published = dict(zip(TASKS, PUBLISHED.get(line, ())))
        if data["scale"] == "paper" and data["suite"] == "table1" and published:
            rows.append((f"{label}, published", *(published.get(task, NOTHING) for task, _ in columns)))
    return Table(("", *heads), rows)


def robust(data: dict[str, Any]) -> Table:
    """The same numbers in a way that no single run decides.

    Args:
        data: What ``collect`` returned.

    Returns:
        A row for each line, a column for each task: interquartile mean over seeds and its 95 % bootstrap interval.
    """
    columns = _columns(data)
    rows = []
    for line, label in data["lines"].items():
        cells = []
        for task, size in columns:
            values = _values(_runs(data, task, line, size))
            if len(values) < 2:
                cells.append(NOTHING)
                continue
            low, high = stratified_bootstrap(np.asarray(values), interquartile_mean)
            cells.append(f"{interquartile_mean(values):.4g} [{low:.4g}, {high:.4g}]")
        rows.append((label, *cells))
    return Table(("", *(f"{data['tasks'][task]}, N = {size:,}" for task, size in columns)), rows)


def against(data: dict[str, Any]) -> Table:
    """Every line beside the first one, which is the baseline.

    Args:
        data: What ``collect`` returned, of a suite of several numbers of environments.

    Returns:
        A row for each line, task and number of environments: number of runs; mean and standard error; interquartile
        mean and its 95 % bootstrap interval; runs whose leader succeeds in half of its last episodes or more; mean of
        the best policy of each run; probability that a run of the line is better than one of the first line, and Mann
        and Whitney's two-sided p.
    """
    first = next(iter(data["lines"]))
    rows = []
    for task, size in _columns(data):
        baseline = _values(_runs(data, task, first, size))
        for line, label in data["lines"].items():
            runs = _runs(data, task, line, size)
            values = _values(runs)
            if len(values) < 2:
                continue
            low, high = stratified_bootstrap(np.asarray(values), interquartile_mean)
            tests = (NOTHING, NOTHING)
            if line != first and len(baseline) > 1:
                better = probability_of_improvement(np.asarray(values), np.asarray(baseline))
                tests = (f"{better:.2f}", f"{mann_whitney(values, baseline).p_value:.2g}")
            succeeded = sum((run.get("successes") or 0.0) >= 0.5 for run in runs)
            most = [run["best_policy"] for run in runs if run.get("best_policy") is not None]
            best = f"{np.mean(most):.3g}" if most else NOTHING
            middle = f"{interquartile_mean(values):.3g} [{low:.3g}, {high:.3g}]"
            rows.append((f"{size:,}", label, str(len(values)), _number(values), middle, str(succeeded), best, *tests))
    heads = (
        "environments",
        "",
        "runs",
        "mean ± standard error",
        "interquartile mean [95 %]",
        "at the goal",
        "best policy",
    )
    return Table((*heads, f"P(better than {data['lines'][first]})", "Mann-Whitney p"), rows)


def draw(data: dict[str, Any], stem: pathlib.Path) -> list[pathlib.Path]:
    """The figure, as PNG and SVG: one panel for each task.

    Args:
        data: What ``collect`` returned.
        stem: Where, without an ending.

    Returns:
        The files; none if no run has a number yet.

    Raises:
        OSError: If one cannot be written.
    """
    shown = data["diversity"] or [run for run in data["runs"] if run["curve"][0]]
    tasks = [task for task in data["tasks"] if any(entry["task"] == task for entry in shown)]
    if not tasks:
        return []
    figure, panels = figures.begin(1, len(tasks), size=(4.2 * len(tasks) + 0.8, 4.0), squeeze=False)
    show = _diversity if data["diversity"] else _sizes if data["kind"] == "sizes" else _curves
    for axes, task in zip(panels[0], tasks):
        show(data, task, axes)
        axes.set_title(data["tasks"][task])
        axes.grid(alpha=0.3)
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)), frameon=False
    )
    counts = [len({entry["seed"] for entry in shown if entry["task"] == task}) for task in tasks]
    few, many = min(counts), max(counts)
    seeds = "1 seed" if many == 1 else f"{few} seeds" if few == many else f"{few} to {many} seeds"
    bands = ", mean and standard error" if many > 1 else ""
    figure.suptitle(f"{data['title']}\n{data['scale']} scale, {seeds}{bands}", fontsize="medium")  # one panel is narrow
    return figures.write(figure, stem)


def _curves(data: dict[str, Any], task: str, axes: Any) -> None:
    for index, (line, label) in enumerate(data["lines"].items()):
        curves = [(np.asarray(run["curve"][0]), np.asarray(run["curve"][1])) for run in data["runs"]
                  if (run["task"], run["line"]) == (task, line) and run["curve"][0]]  # fmt: skip
        for steps, values in curves:
            axes.plot(steps, values, color=f"C{index}", linewidth=0.6, alpha=0.4)
        if curves:
            steps, values = on_common_steps(curves)
            mean, error = mean_and_standard_error(values)
            axes.plot(steps, mean, color=f"C{index}", linewidth=2.0, label=label)
            axes.fill_between(steps, mean - error, mean + error, color=f"C{index}", alpha=0.25, linewidth=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(f"{data['numbers'][task]} of an episode, leader")


def _diversity(data: dict[str, Any], task: str, axes: Any) -> None:
    entries = [entry for entry in data["diversity"] if entry["task"] == task]
    colors: dict[str, str] = {}
    for name in dict.fromkeys(entry["set"] for entry in entries):
        line, _, part = name.partition(", ")
        color = colors.setdefault(line, f"C{len(colors)}")
        mean, error = mean_and_standard_error([entry["y"] for entry in entries if entry["set"] == name])
        x = next(entry["x"] for entry in entries if entry["set"] == name)
        if part.startswith("follower"):
            label = f"{line}, each follower" if part == "follower 1" else None
            axes.plot(x, mean, color=color, linewidth=0.8, alpha=0.6, label=label)
            continue
        axes.plot(x, mean, color=color, linewidth=2.0, linestyle="--" if part == "leader" else "-", label=name)
        axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    if data["kind"] == "autoencoder":
        axes.set_xscale("log", base=2)
        axes.set_xticks(entries[0]["x"], [str(width) for width in entries[0]["x"]])
        axes.minorticks_off()
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("principal components" if data["kind"] == "pca" else "hidden units")
    axes.set_ylabel("mean squared error")


def _diversity_table(data: dict[str, Any]) -> Table:
    def number(entry: dict[str, Any]) -> float:
        errors = np.asarray(entry["y"])
        if data["kind"] == "pca":
            return float(np.argmax(errors <= 0.1 * errors[0]))
        return float(errors[max(index for index, width in enumerate(entry["x"]) if width <= 8)])

    rows = []
    for name in dict.fromkeys(entry["set"] for entry in data["diversity"]):
        cells = [[number(entry) for entry in data["diversity"] if (entry["task"], entry["set"]) == (task, name)]
                 for task in data["tasks"]]  # fmt: skip
        rows.append((name, *(_number(values) for values in cells)))
    what = "components for 90 % of the variance" if data["kind"] == "pca" else "error with 8 hidden units"
    return Table(("states", *(f"{label}, {what}" for label in data["tasks"].values())), rows)


def _sizes(data: dict[str, Any], task: str, axes: Any) -> None:
    sizes = sorted({run["num_envs"] for run in data["runs"]})
    for index, (line, label) in enumerate(data["lines"].items()):
        points = {size: _values(_runs(data, task, line, size)) for size in sizes}
        points = {size: values for size, values in points.items() if values}
        if not points:
            continue
        mean, error = np.transpose([mean_and_standard_error(values) for values in points.values()])
        if len(points) == 1 < len(sizes):  # a line of reference, as the paper has it
            axes.axhline(mean[0], color=f"C{index}", linestyle="--", label=f"{label}, N = {next(iter(points)):,}")
            axes.axhspan(mean[0] - error[0], mean[0] + error[0], color=f"C{index}", alpha=0.15, linewidth=0)
            continue
        aside = 2.0 ** (0.1 * (index - (len(data["lines"]) - 1) / 2))  # so that lines do not hide one another
        places = [size * aside for size in points]
        axes.errorbar(places, mean, error, color=f"C{index}", marker="o", capsize=3, label=label)
        for place, values in zip(places, points.values()):
            axes.scatter([place] * len(values), values, color=f"C{index}", s=8, alpha=0.4, linewidths=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("number of environments")
    axes.set_ylabel(f"{data['numbers'][task]} of an episode, leader")


def _columns(data: dict[str, Any]) -> list[tuple[str, int]]:
    """Task and number of environments, in the order of the tasks."""
    if data["kind"] == "sizes":
        sizes = sorted({run["num_envs"] for run in data["runs"]})
        return [(task, size) for task in data["tasks"] for size in sizes]
    scale = SCALES[data["scale"]]
    return [(task, scale.num_envs or TASKS[task].small_envs) for task in data["tasks"]]


def _runs(data: dict[str, Any], task: str, line: str, size: int) -> list[dict[str, Any]]:
    place = (task, line, size)
    return [run for run in data["runs"] if (run["task"], run["line"], run["num_envs"]) == place]


def _values(runs: list[dict[str, Any]]) -> list[float]:
    return [run["value"] for run in runs if run["value"] is not None]


def _cell(runs: list[dict[str, Any]]) -> str:
    fresh = [run["evaluation"]["mean"] for run in runs if run["evaluation"]]
    return f"{_number(_values(runs))} / {_number(fresh)} ({len(runs)})" if runs else NOTHING


def _number(values: list[float]) -> str:
    if not values:
        return NOTHING
    mean, error = mean_and_standard_error(values)
    return f"{mean:.3g} ± {error:.2g}" if len(values) > 1 else f"{mean:.3g}"
