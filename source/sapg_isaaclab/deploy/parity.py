"""Whether a file acts as the policy it was made from."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch

from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.deploy.metadata import relative_difference
from sapg_isaaclab.deploy.policy import Policy

TOLERANCE = 1e-5
"""Largest difference of actions between file and policy."""

STEPS, ROWS = 1000, 4
"""Steps and robots of the comparison where nothing was recorded."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """Observations to act on, step after step."""

    observations: torch.Tensor
    """Shape (T, N, D)."""

    begins: torch.Tensor
    """Whether an episode begins with the step, boolean. Shape (T, N)."""

    source: str
    """``recorded`` from the environment or ``drawn``."""


def drawn(moments: RunningMoments, *, steps: int = STEPS, rows: int = ROWS, seed: int = 0) -> Recording:
    """Observations drawn from the moments of training, in episodes of about a hundred steps.

    Args:
        moments: Moments of the observations.
        steps: Number of steps T.
        rows: Number of robots N.
        seed: Seed of the draws.

    Returns:
        Observations such as the policy was trained on, one independent of the other.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, std = moments.mean.cpu(), moments.variance.cpu().sqrt()
    observations = mean + std * torch.randn(steps, rows, len(mean), generator=generator, dtype=torch.float64)
    begins = torch.rand(steps, rows, generator=generator) < 0.01
    begins[0] = True
    return Recording(observations.float(), begins, "drawn")


@torch.no_grad()
def record(env: Any, player: Any, steps: int) -> Recording:
    """Observations of an environment in which the policy acts.

    Args:
        env: The wrapped environment.
        player: The policy.
        steps: Number of steps T.

    Returns:
        What the policy saw.
    """
    observations, begins = [], []
    seen, _ = env.reset()
    begin = torch.ones(env.num_envs, dtype=torch.bool)
    for _ in range(steps):
        # environments may write their next observation into the same tensor
        observations.append(seen.cpu().clone())
        begins.append(begin)
        seen, _, terminated, truncated, _ = env.step(player(seen))
        done = (terminated | truncated).view(-1)
        player.reset(done)
        begin = done.cpu().clone()
    return Recording(torch.stack(observations), torch.stack(begins), "recorded")


@torch.no_grad()
def actions_of(player: Any, recording: Recording, device: str | torch.device = "cpu") -> torch.Tensor:
    """Actions on a recording.

    Args:
        player: A policy before its first step: an agent's player, or a :class:`Policy` from a file.
        recording: What it sees.
        device: Where it computes.

    Returns:
        Actions (T, N, A) on the CPU.
    """
    actions = []
    for observations, begins in zip(recording.observations.to(device), recording.begins.to(device)):
        player.reset(begins)
        actions.append(player(observations).cpu())
    return torch.stack(actions)


def largest_difference(policy: Policy, reference: torch.Tensor, recording: Recording) -> float:
    """Compare a file with the policy that it was made from.

    Args:
        policy: The file.
        reference: The policy's actions on the recording. Shape (T, N, A).
        recording: What both see.

    Returns:
        Largest difference; relative where an action is beyond 1.
    """
    policy.reset()
    actions = actions_of(policy, recording)
    policy.reset()
    return relative_difference(actions.numpy(), reference.numpy())


def actions_per_second(policy: Policy, recording: Recording, *, seconds: float = 0.3) -> float:
    """Speed of a file for one robot, in time of the processor: what else runs on the machine does not count.

    Args:
        policy: The file.
        recording: What it sees.
        seconds: How long to measure.

    Returns:
        Calls per second of one core.
    """
    rows = recording.observations[:, :1].numpy()
    policy.reset()
    for row in rows[:50]:
        policy(row)
    count, start = 0, time.process_time()
    while (passed := time.process_time() - start) < seconds:
        policy(rows[count % len(rows)])
        count += 1
    policy.reset()
    return count / passed
