"""What a suite will cost, before it starts: runs, environment steps, hours and bytes, from runs that there are."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable

from sapg_isaaclab.experiments.tables import Table
from sapg_isaaclab.experiments.trials import Shelf, Trial
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.run_folder import RunFolder

NEWEST = 50
"""Rows at the end of a run that its speed is taken from."""


@dataclasses.dataclass(frozen=True)
class Speed:
    """What a run of a kind costs."""

    steps_per_s: float
    """Environment steps per second, with learning."""

    size: float
    """Bytes of its folder."""

    source: str
    """Where these numbers are from."""


@dataclasses.dataclass
class Estimate:
    """Runs of one kind: one task, algorithm and number of environments."""

    runs: int = 0
    """Runs that are not done."""

    done: int = 0
    """Runs that are."""

    stopped: int = 0
    """Of those that are not done, how many have a checkpoint to go on from."""

    env_steps: int = 0
    """Environment steps that are missing."""

    speed: Speed | None = None
    """What a run of this kind costs; None if there is none to measure."""

    @property
    def hours(self) -> float:
        """Hours of one process for what is missing; not a number if no speed is known."""
        if not self.env_steps:
            return 0.0
        return self.env_steps / self.speed.steps_per_s / 3600.0 if self.speed else math.nan

    @property
    def gigabytes(self) -> float:
        """Disk for the runs that are missing [GB]; not a number if no size is known."""
        if not self.runs:
            return 0.0
        return self.runs * self.speed.size / 1e9 if self.speed else math.nan


def estimate(
    trials: Iterable[Trial], shelf: Shelf, *, rate: float | None = None, hours: float | None = None
) -> dict[tuple[str, str, int], Estimate]:
    """Estimate the cost of what is missing.

    Args:
        trials: The runs of a suite.
        shelf: The runs there are.
        rate: Environment steps per second of every run, instead of measured ones.
        hours: Duration of a whole run where nothing was measured and no rate is given.

    Returns:
        By task, algorithm and number of environments.
    """
    kinds: dict[tuple[str, str, int], Estimate] = {}
    trials = list(dict.fromkeys(trials))
    for trial in trials:
        kind = trial.task, trial.algorithm, trial.num_envs
        each = kinds.setdefault(kind, Estimate())
        run, iteration = shelf.find(trial)
        if iteration >= trial.iterations:
            each.done += 1
            continue
        each.runs += 1
        each.stopped += run is not None
        each.env_steps += trial.env_steps - iteration * trial.rollouts * trial.num_envs
    steps = max((trial.env_steps for trial in trials), default=0)
    ranks = max((trial.ranks for trial in trials), default=1)  # the same for all of a suite
    for kind, each in kinds.items():
        each.speed = _measured(shelf.alike(*kind, ranks))
        size = each.speed.size if each.speed else math.nan
        if rate is not None:
            each.speed = Speed(rate, size, "--rate")
        elif each.speed is None and hours is not None:
            each.speed = Speed(steps / hours / 3600.0, size, "published")
    return kinds


def table(kinds: dict[tuple[str, str, int], Estimate]) -> Table:
    """The estimate as a table.

    Args:
        kinds: What :func:`estimate` returned.

    Returns:
        A row for each kind, and one for all.
    """
    rows = [
        (task, algorithm, f"{num_envs:,}", f"{each.runs}", f"{each.stopped}", f"{each.done}", f"{each.env_steps:.3g}",
         f"{each.speed.steps_per_s:,.0f} ({each.speed.source})" if each.speed else "not measured",
         _rounded(each.hours), _rounded(each.gigabytes))
        for (task, algorithm, num_envs), each in kinds.items()
    ]  # fmt: skip
    total = [sum(getattr(each, name) for each in kinds.values()) for name in ("runs", "stopped", "done")]
    steps = sum(each.env_steps for each in kinds.values())
    hours, size = sum(each.hours for each in kinds.values()), sum(each.gigabytes for each in kinds.values())
    last = ("all", "", "", *map(str, total), f"{steps:.3g}", "", _rounded(hours), _rounded(size))
    heads = ("task", "algorithm", "N", "to do", "stopped", "done", "env-steps to do", "env-steps/s", "hours", "GB")
    return Table(heads, [*rows, last])


def _rounded(number: float) -> str:
    return "?" if math.isnan(number) else f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def _measured(runs: list[RunFolder]) -> Speed | None:
    rates, sizes = [], []
    for run in runs:
        try:
            rows = metrics.read(run)[-NEWEST:]
        except ValueError:
            continue
        rates += [row["Perf/env_steps_per_s"] for row in rows if row.get("Perf/env_steps_per_s")]
        sizes.append(sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()))
    if not rates:
        return None
    return Speed(statistics.median(rates), max(sizes), f"median of {len(sizes)} run{'s' * (len(sizes) > 1)} here")
