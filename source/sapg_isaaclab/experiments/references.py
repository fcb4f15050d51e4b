"""What random, trapped and optimal behaviour earn: the scale on which a learned return is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from sapg_isaaclab.experiments.study_envs import ENVS
from sapg_isaaclab.experiments.trap_env import TrapEnv

BEHAVIOURS = ("random", "decoy", "optimal")
"""Gaussian actions of standard deviation 1, what an untrained policy does; and the scripted controllers."""


class Reference(NamedTuple):
    """What a behaviour earns."""

    mean: float
    """Mean return of an episode."""

    standard_error: float
    """Standard error of that mean."""

    successes: float
    """Share of episodes that are a success."""


def act(env: TrapEnv, behaviour: str, generator: torch.Generator) -> torch.Tensor:
    """Actions of a behaviour.

    Args:
        env: The environment.
        behaviour: One of :data:`BEHAVIOURS`.
        generator: Source of the random ones.

    Returns:
        Actions (N, A).
    """
    if behaviour == "random":
        return torch.randn(env.num_envs, env.num_actions, generator=generator, device=env.device)
    return getattr(env, behaviour)()


def whole_episodes(
    env: TrapEnv, act: Callable[[torch.Tensor], torch.Tensor], observations: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Play one whole episode in every environment.

    Args:
        env: The environment, just made or reset.
        act: From observations (N, D) to actions (N, A).
        observations: Those of the reset.

    Returns:
        Returns and successes of the episodes. Shape (N,) each.
    """
    total, counted = torch.zeros(env.num_envs), torch.zeros(env.num_envs)
    whole = torch.zeros(env.num_envs, dtype=torch.bool)
    waiting = ~whole
    # the first episode of an environment begins at a random age and is not counted; the next ends within this time
    for _ in range(2 * env.episode_length):
        observations, rewards, terminated, truncated, infos = env.step(act(observations))
        done = (terminated | truncated).view(-1)
        total += rewards.view(-1) * (whole & waiting)
        counted = torch.where(done & whole & waiting, infos["successes"], counted)
        waiting &= ~(done & whole)
        whole |= done
    return total, counted


@functools.cache
def measure(name: str, behaviour: str, num_envs: int = 24_576) -> Reference:
    """What a behaviour earns in one whole episode of every environment.

    Args:
        name: Name of the environment.
        behaviour: One of :data:`BEHAVIOURS`.
        num_envs: Number of episodes.

    Returns:
        Mean, standard error and successes; the same numbers at every call.
    """
    env = ENVS[name](num_envs)
    generator = torch.Generator().manual_seed(0)
    blind = torch.empty(num_envs, 0)  # these behaviours look at the environment itself
    total, counted = whole_episodes(env, lambda _: act(env, behaviour, generator), blind)
    return Reference(total.mean().item(), (total.std() / num_envs**0.5).item(), counted.mean().item())
