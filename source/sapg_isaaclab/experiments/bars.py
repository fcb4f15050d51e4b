"""The bar that every algorithm must pass: a return, with every one of five seeds."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from sapg_isaaclab.experiments import references
from sapg_isaaclab.experiments.point_runs import Setting, outcome, train_all

SEEDS = (1, 2, 3, 4, 5)


class Bar(NamedTuple):
    """A return between that of random actions and that of a scripted controller."""

    env: str
    """Name of the environment."""

    level: str
    """Controller that marks the upper end: ``optimal``, or ``decoy`` for an algorithm that stays in the trap."""

    share: float
    """How far up the bar lies, from 0 (random) to 1 (the controller)."""

    num_envs: int
    """Number of environments N."""

    iterations: int
    """Number of updates."""

    def height(self) -> float:
        """The return to exceed."""
        low, high = (references.measure(self.env, name).mean for name in ("random", self.level))
        return low + self.share * (high - low)


BARS: dict[str, Bar] = {
    "sapg": Bar("two_goals", "decoy", 0.5, 768, 80),
    "cpo": Bar("two_goals", "decoy", 0.5, 768, 80),
    "ppo": Bar("two_goals", "decoy", 0.5, 768, 80),
    "epo": Bar("two_goals", "decoy", 0.5, 768, 80),
    "dexpbt": Bar("two_goals", "decoy", 0.5, 768, 50),
    "pql": Bar("two_goals", "decoy", 0.5, 768, 40),
    "pql_d": Bar("two_goals", "decoy", 0.5, 768, 40),
}
"""Bar of every algorithm, by its name in :data:`~sapg_isaaclab.experiments.point_runs.ALGORITHMS`.

In so short a training none of these gets over the trap with every seed: their bars are on the decoy's level and say
that they learn, not that they explore. PQL earns less than the decoy offers because its returns are of actions with
noise, whose standard deviation goes up to 0.8.
"""


def measure(algorithm: str, log_root: pathlib.Path, jobs: int = 1) -> list[float]:
    """Train with every seed.

    Args:
        algorithm: Name of the algorithm.
        log_root: Folder of all runs.
        jobs: Number of processes at a time.

    Returns:
        Return of the leader over the last tenth of training, in the order of the seeds.
    """
    bar = BARS[algorithm]
    settings = [Setting(bar.env, algorithm, bar.num_envs, seed, bar.iterations) for seed in SEEDS]
    returns = {setting: outcome(run)["return"] for setting, run, _ in train_all(settings, log_root, jobs)}
    return [returns[setting] for setting in settings]


def verdict(algorithm: str, returns: list[float]) -> str:
    """What came of it, in one line.

    Args:
        algorithm: Name of the algorithm.
        returns: What :func:`measure` returned.

    Returns:
        Bar, references and returns.
    """
    bar = BARS[algorithm]
    marks = ", ".join(f"{name} {references.measure(bar.env, name).mean:.2f}" for name in references.BEHAVIOURS)
    passed = sum(value > bar.height() for value in returns)
    return (
        f"{algorithm} on {bar.env}: {passed} of {len(returns)} seeds above the bar {bar.height():.2f} ({marks});"
        f" returns {', '.join(f'{value:.2f}' for value in returns)}"
    )
