"""Running a policy from a reset and collecting the episodes that finish: for pictures and for figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from sapg_isaaclab.agents.sapg.policies import Player
from sapg_isaaclab.errors import TrainingError


@dataclasses.dataclass
class Episodes:
    """Finished episodes, in no particular order."""

    returns: list[float] = dataclasses.field(default_factory=list)
    """Sum of rewards of each."""

    lengths: list[int] = dataclasses.field(default_factory=list)
    """Number of steps of each."""

    terminated: list[float] = dataclasses.field(default_factory=list)
    """1 for each that ended before its time, as when the object is dropped; 0 for a time-out."""

    successes: list[float] = dataclasses.field(default_factory=list)
    """Successes of each; empty if the task counts none."""

    broken: int = 0
    """Number of episodes that are left out because their physics broke down
    (:mod:`~sapg_isaaclab.tasks.nan_guard`)."""


@torch.no_grad()
def run_episodes(
    env: Any,
    act: Player,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    on_step: Callable[[], None] | None = None,
) -> Episodes:
    """Run a policy from a reset and collect finished episodes.

    With ``episodes``, the first ``ceil(episodes / N)`` episodes of every environment count. The first ones to finish
    would not be a fair sample: short episodes finish first. An episode whose environment broke down counts nowhere, and
    another takes its place.

    Args:
        env: The wrapped environment.
        act: The policy.
        episodes: Least number of episodes.
        steps: Number of steps, instead of ``episodes``; whatever finishes counts.
        on_step: Called after every step.

    Returns:
        The episodes.

    Raises:
        TrainingError: If a reward is not finite, or more episodes broke down than were asked for.
    """
    quota = math.ceil(episodes / env.num_envs) if episodes is not None else None
    returns = torch.zeros(env.num_envs, device=env.device)
    lengths = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
    counts = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
    result = Episodes()
    observations, _ = env.reset()
    step = 0
    while (quota is None and step < steps) or (quota is not None and bool((counts < quota).any())):
        observations, rewards, terminated, truncated, infos = env.step(act(observations))
        step += 1
        returns += rewards.view(-1)
        lengths += 1
        done = (terminated | truncated).view(-1)
        act.reset(done)
        whole = done
        if "broken" in infos:
            whole = done & ~infos["broken"]
            result.broken += int(infos["broken"].sum())
            if quota is not None and result.broken > quota * env.num_envs:
                raise TrainingError(f"{result.broken} episodes broke down within {step} steps (physics not finite)")
        counted = whole if quota is None else whole & (counts < quota)
        rows = counted.nonzero().view(-1)
        if len(rows):
            if not torch.isfinite(returns[rows]).all():
                raise TrainingError(f"the environment returned a reward that is not finite within {step} steps")
            result.returns += returns[rows].tolist()
            result.lengths += lengths[rows].tolist()
            result.terminated += terminated.view(-1)[rows].float().tolist()
            if "successes" in infos:
                result.successes += infos["successes"][rows].tolist()
        counts += counted
        returns.masked_fill_(done, 0.0)
        lengths.masked_fill_(done, 0)
        if on_step is not None:
            on_step()
    return result
