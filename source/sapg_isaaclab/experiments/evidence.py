"""What the runs of a suite have come to, as plain values: all that tables, figures and pages are made from."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import numpy as np

from sapg_isaaclab.experiments import diversity
from sapg_isaaclab.experiments.suites import LINES, SCALES, SUITES, TASKS, Place
from sapg_isaaclab.experiments.trials import Shelf, Trial
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.run_folder import RunFolder

POINTS = 100
"""Points of a curve, at equal distances of environment steps."""

FEW_POINTS = 20
"""Those of a curve that a suite does not draw."""


def collect(suite: str, scale: str, trials: dict[Place, Trial], shelf: Shelf, episodes: int) -> dict[str, Any]:
    """Put the numbers of a suite together.

    Args:
        suite: Its name.
        scale: Its scale.
        trials: Its runs, by where their numbers belong.
        shelf: The runs there are.
        episodes: Episodes of the evaluations to look for.

    Returns:
        Plain values: ``suite``, ``scale``, ``kind``, ``samples``, ``tasks`` and ``lines`` (labels by name), ``planned``
        (number of runs) and ``runs``, one entry for each finished run; see :func:`outcome`. Besides ``commits``,
        ``code`` and ``packages``, of all of them. Figures 7 and 8 have ``diversity``, the entries of
        :func:`~sapg_isaaclab.experiments.diversity.measure` for every task and seed whose runs are all done.

    Raises:
        ValueError: If runs have kept too few states to compare.
    """
    runs, manifests = [], []
    for place, trial in trials.items():
        run, iteration = shelf.find(trial)
        if run is not None and iteration >= trial.iterations:
            points = POINTS if SUITES[suite].kind == "curves" else FEW_POINTS
            entry = outcome(run, trial, TASKS[place.task].number, episodes, points)
            runs.append(
                {"task": place.task, "line": place.line, "num_envs": place.num_envs, "seed": place.seed} | entry
            )
            manifests.append(run.manifest())
    states = _diversity(suite, trials, shelf) if SUITES[suite].kind in ("pca", "autoencoder") else []
    packages: dict[str, list[str]] = {}
    for manifest in manifests:
        for name, version in (manifest.get("packages") or {}).items():
            packages.setdefault(name, []).append(version)
    return {
        "suite": suite,
        "scale": scale,
        "title": SUITES[suite].title,
        "kind": SUITES[suite].kind,
        "samples": SCALES[scale].samples,
        "options": list(SCALES[scale].options),
        "tasks": {task: TASKS[task].label for task in dict.fromkeys(place.task for place in trials)},
        "numbers": {task: TASKS[task].number for task in dict.fromkeys(place.task for place in trials)},
        "lines": {line: LINES[line].label for line in dict.fromkeys(place.line for place in trials)},
        "planned": len(trials),
        "runs": runs,
        "diversity": states,
        "commits": sorted({(manifest.get("git") or {}).get("commit") or "unknown" for manifest in manifests}),
        "code": sorted({manifest.get("code") or "unknown" for manifest in manifests}),
        "packages": {name: ", ".join(dict.fromkeys(versions)) for name, versions in packages.items()},
    }


def outcome(run: RunFolder, trial: Trial, number: str, episodes: int, num_points: int = POINTS) -> dict[str, Any]:
    """What a finished run has come to.

    Args:
        run: The run.
        trial: What it is a run of.
        number: ``return`` or ``successes``.
        episodes: Episodes of its evaluation.
        num_points: Points of its curve, at most.

    Returns:
        Plain values. ``value``: the leader's mean over its last finished episodes at the end of training, sampled
        actions, as the paper reports it; None if none had finished. ``successes``: likewise, of whatever the task calls
        a success. ``best_policy``: the highest of all policies' means; None with one policy. ``evaluation``: mean and
        standard error of fresh episodes, sampled actions; None if there are none. ``curve``: environment steps and the
        leader's mean there. Besides ``env_steps`` and ``wall_time_s``.
    """
    rows = [row for row in metrics.read(run) if row["iteration"] <= trial.iterations]
    points = [(row["env_steps"], value) for row in rows if (value := row.get(f"Leader/{number}")) is not None]
    curve: list[list[float]] = [[], []]
    if points:
        steps, values = np.asarray(points, dtype=np.float64).T
        grid = np.linspace(steps[0], steps[-1], min(num_points, len(points)))
        curve = [grid.round().tolist(), [float(f"{value:.6g}") for value in np.interp(grid, steps, values)]]
    return {
        "value": points[-1][1] if points else None,
        "successes": rows[-1].get("Leader/successes"),
        "best_policy": _best_policy(rows[-1], number),
        "evaluation": _evaluation(trial.evaluation_file(run, episodes), number),
        "curve": curve,
        "env_steps": rows[-1]["env_steps"],
        "wall_time_s": rows[-1].get("Perf/wall_time_s"),
    }


def _best_policy(row: dict[str, Any], number: str) -> float | None:
    found = [value for tag, value in row.items() if re.fullmatch(rf"Blocks?_?\d*/{number}(_highest)?", tag)]
    return max(found, default=None)


def _diversity(suite: str, trials: dict[Place, Trial], shelf: Shelf) -> list[dict[str, Any]]:
    groups: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    missing = set()
    for place, trial in trials.items():
        group, (run, iteration) = (place.task, place.seed), shelf.find(trial)
        if run is None or iteration < trial.iterations:
            missing.add(group)
        elif group not in missing:
            groups.setdefault(group, {}).update(diversity.state_sets(run.path, LINES[place.line].label))
    return [
        {"task": task, "seed": seed} | line
        for (task, seed), sets in groups.items()
        if (task, seed) not in missing
        for line in diversity.measure(SUITES[suite].kind, sets)
    ]


def _evaluation(file: pathlib.Path, number: str) -> dict[str, float] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return None
    figures = found.get(number)
    if figures is None:
        return None
    return {**{key: figures[key] for key in ("mean", "standard_error")}, "episodes": found["num_episodes"]}
