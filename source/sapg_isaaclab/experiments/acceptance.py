"""Whether an environment can tell methods apart, by what random and scripted policies do in it and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from skrl.utils import set_seed

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.mlp import mlp
from sapg_isaaclab.experiments.door_chain import DoorChain
from sapg_isaaclab.experiments.point_runs import ALGORITHMS
from sapg_isaaclab.experiments.references import whole_episodes

TILT = 0.15
"""Mean action along a key, in standard deviations of the noise around it."""


class Diversity(NamedTuple):
    """How the policies of an untrained SAPG agent differ."""

    doors: torch.Tensor
    """Share of a policy's episodes that go through each of the six doors. Shape (M, 6)."""

    divergence: torch.Tensor
    """KL divergence [nat] of the leader's actions from those of each follower, where episodes begin. Shape (M - 1,)."""


def first_doors(
    env: DoorChain, act: Callable[[torch.Tensor], torch.Tensor], observations: torch.Tensor
) -> torch.Tensor:
    """Play one whole episode in every environment.

    Args:
        env: The environment, just made.
        act: From observations (N, 27) to actions (N, 16).
        observations: Those of the reset.

    Returns:
        Share of the episodes that go through each door of the first room. Shape (6,).
    """
    env.age.zero_()
    through = torch.zeros(env.num_envs, 6)
    for _ in range(env.episode_length - 1):  # with the last step the next episode begins
        before = env.room
        observations = env.step(act(observations))[0]
        for number, behind in enumerate(behind for room, _, behind in env.doors if room == 0):
            through[:, number] += (before == 0) & (env.room == behind)
    return through.mean(dim=0)


def tilted(key: int, num_envs: int = 2_000) -> torch.Tensor:
    """Doors of a policy that leans a little towards one key: noise of deviation 1 around :data:`TILT` along it.

    Its divergence from the noise alone is 16 TILT^2 / 2 = 0.18 nat a step, and of samples of one that are weighted for
    the other an effective share of exp(-16 TILT^2) = 0.70 is left.

    Args:
        key: The key.
        num_envs: Number of episodes.

    Returns:
        As of :func:`first_doors`.
    """
    env, generator = DoorChain(num_envs), torch.Generator().manual_seed(0)
    mean = TILT * env.keys[key]
    return first_doors(env, lambda _: mean + torch.randn(num_envs, 16, generator=generator), env.observe())


def untrained(seed: int, num_envs: int = 300) -> Diversity:
    """Policies that have not been trained, as ``sapg`` of the study makes them.

    Args:
        seed: Seed of the networks.
        num_envs: Number of episodes of each policy.

    Returns:
        Which doors they go through and how far their actions are from the leader's.
    """
    set_seed(seed)
    env = DoorChain(num_envs, seed=seed)
    cfg = ALGORITHMS["sapg"](seed=seed)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg, with_memory=False)
    agent.init()
    agent.enable_training_mode(False)
    doors, means = [], []
    for block in range(cfg.num_blocks):
        observations = env.reset()[0]
        means.append(agent.player(block, deterministic=True)(observations).mean(dim=0))
        doors.append(first_doors(env, agent.player(block, deterministic=False), observations))
    leader, *followers = means
    # all standard deviations are 1 before training
    return Diversity(torch.stack(doors), torch.stack([(leader - mean).square().sum() / 2 for mean in followers]))


def imitated(steps: int = 600, num_envs: int = 512, noise: float = math.exp(-1.0)) -> float:
    """Return of a network of the study's size that was fitted to the scripted best policy, with noise around it.

    Args:
        steps: Steps of Adam, each on the states of one time step.
        num_envs: Number of environments.
        noise: Standard deviation of the actions.

    Returns:
        Mean return of whole episodes.
    """
    torch.manual_seed(0)
    env = DoorChain(num_envs)
    network = torch.nn.Sequential(
        torch.nn.Linear(env.num_observations, 32), torch.nn.ELU(), *mlp((32, 32), "elu"), torch.nn.Linear(32, 16)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    observations = env.observe()
    for _ in range(steps):
        mean = network(observations)
        loss = (mean - env.optimal()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        observations = env.step(mean.detach() + noise * torch.randn(num_envs, 16))[0]
    with torch.no_grad():
        total, _ = whole_episodes(env, lambda o: network(o) + noise * torch.randn(num_envs, 16), env.reset()[0])
    return total.mean().item()
