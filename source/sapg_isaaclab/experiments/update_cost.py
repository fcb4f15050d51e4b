"""What an update of SAPG costs against the number of policies: time and memory on made-up data, no environment."""

from __future__ import annotations

import resource
import statistics
import time
import types
from collections.abc import Sequence
from typing import Any

import gymnasium
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.experiments.tables import Table

OBSERVATIONS, ACTIONS = 128, 16
"""Sizes of the made-up data, about those of a hand."""


def measure(options: dict[str, Any], num_envs: int, updates: int, seed: int = 0) -> dict[str, float]:
    """Time updates of one agent on one thread, after one that is not counted. Call it in a process of its own.

    Rewards and observations are drawn, an episode ends in a hundredth of the steps.

    Args:
        options: Options of :class:`~sapg_isaaclab.agents.sapg.SapgCfg`.
        num_envs: Number of environments N.
        updates: Number of updates.
        seed: Seed of the data and the networks.

    Returns:
        ``update_s``, the median CPU time of an update [s]; ``act_s``, that of acting in a step [s]; ``peak_mb``, memory
        at its highest above that before the agent was made [MB]; ``rows`` of an update's batch; ``policies``.

    Raises:
        ValueError: If an option is wrong.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    cfg = SapgCfg(**options)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    spaces = {
        f"{name}_space": gymnasium.spaces.Box(-float("inf"), float("inf"), (size,))
        for name, size in (("observation", OBSERVATIONS), ("action", ACTIONS))
    }
    env = types.SimpleNamespace(num_envs=num_envs, device=torch.device("cpu"), state_space=None, **spaces)
    before_mb = _resident_mb()
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    clock, never = {"timestep": 0, "timesteps": 0}, torch.zeros(num_envs, 1, dtype=torch.bool)
    acting, learning = [], []
    for _ in range(updates + 1):
        for _ in range(cfg.rollouts):
            observations, after = torch.randn(2, num_envs, OBSERVATIONS)
            began = time.process_time()
            actions, _ = agent.act(observations, None, **clock)
            acting.append(time.process_time() - began)
            agent.record_transition(
                observations=observations,
                states=None,
                actions=actions,
                rewards=torch.randn(num_envs, 1),
                next_observations=after,
                next_states=None,
                terminated=torch.rand(num_envs, 1) < 0.01,
                truncated=never,
                infos={},
                **clock,
            )
            began = time.process_time()
            agent.post_interaction(**clock)
        learning.append(time.process_time() - began)
    rows = cfg.rollouts * num_envs
    return {
        "policies": cfg.num_blocks,
        "rows": rows + (len(agent.pairs) + len(agent.imitation)) * rows // cfg.num_blocks,
        "update_s": statistics.median(learning[1:]),
        "act_s": statistics.median(acting[cfg.rollouts :]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb,
    }


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def table(found: Sequence[dict[str, float]]) -> Table:
    """Costs beside each other.

    Args:
        found: What :func:`measure` returned, the first being what others are compared with.

    Returns:
        A row for each number of policies.
    """
    first = found[0]
    return Table(
        ("policies", "rows of a batch", "update [s]", "act [ms per step]", "peak memory [MB]", "times its rows",
         "times its update", "times its memory"),
        [
            (f"{each['policies']}", f"{each['rows']:,}", f"{each['update_s']:.2f}", f"{1000 * each['act_s']:.1f}",
             f"{each['peak_mb']:.0f}", f"{each['rows'] / first['rows']:.3f}",
             f"{each['update_s'] / first['update_s']:.3f}", f"{each['peak_mb'] / first['peak_mb']:.3f}")
            for each in found
        ],
    )  # fmt: skip
