"""What an update of SAPG costs against the number of policies: time and memory on made-up data, no environment."""

from __future__ import annotations

import resource
import statistics
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import torch
from torch.utils.flop_counter import FlopCounterMode

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.experiments.tables import Table

OBSERVATIONS, ACTIONS = 128, 16
"""Sizes of the made-up data, about those of a hand."""


def updates(options: dict[str, Any], num_envs: int, seed: int = 0) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Fill the memory of an agent again and again with what is drawn; an episode ends in a hundredth of the steps.

    Args:
        options: Options of :class:`~sapg_isaaclab.agents.sapg.SapgCfg`.
        num_envs: Number of environments N.
        seed: Seed of the data and the networks.

    Yields:
        The agent, and its update, which must be called before the next one is asked for.

    Raises:
        ValueError: If an option is wrong.
    """
    torch.manual_seed(seed)
    cfg = SapgCfg(**options)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    spaces = {
        f"{name}_space": gymnasium.spaces.Box(-float("inf"), float("inf"), (size,))
        for name, size in (("observation", OBSERVATIONS), ("action", ACTIONS))
    }
    env = types.SimpleNamespace(num_envs=num_envs, device=torch.device("cpu"), state_space=None, **spaces)
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    clock, never = {"timestep": 0, "timesteps": 0}, torch.zeros(num_envs, 1, dtype=torch.bool)
    while True:
        for step in range(cfg.rollouts):
            observations, after = torch.randn(2, num_envs, OBSERVATIONS)
            actions, _ = agent.act(observations, None, **clock)
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
            if step < cfg.rollouts - 1:
                agent.post_interaction(**clock)
        yield agent, lambda: agent.post_interaction(**clock)


def measure(options: dict[str, Any], num_envs: int, count: int) -> dict[str, float]:
    """Time updates of one agent on one thread, after one whose operations are counted. Call it in a process of its own.

    Args:
        options: Options of the agent.
        num_envs: Number of environments N.
        count: Number of updates.

    Returns:
        ``policies``; ``rows`` of an update's batch; ``operations`` of its matrix products; ``update_s``, the median CPU
        time of an update [s]; ``peak_mb``, memory at its highest above that before the agent was made [MB].

    Raises:
        ValueError: If an option is wrong.
    """
    torch.set_num_threads(1)
    before_mb, spent = _resident_mb(), []
    made = updates(options, num_envs)
    agent, update = next(made)
    with FlopCounterMode(display=False) as counter:
        update()
    for _ in range(count):
        agent, update = next(made)
        began = time.process_time()
        update()
        spent.append(time.process_time() - began)
    layout, rows = agent.layout, agent.cfg.rollouts * num_envs
    relabelled = len(agent.pairs) + len(agent.imitation)
    return {
        "policies": layout.num_blocks,
        "rows": rows + relabelled * agent.cfg.rollouts * layout.block_size,
        "operations": counter.get_total_flops(),
        "update_s": statistics.median(spent),
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
        ("policies", "rows of a batch", "operations [1e9]", "update [s]", "peak memory [MB]", "times its rows",
         "times its operations", "times its update", "times its memory"),
        [
            (f"{each['policies']}", f"{each['rows']:,}", f"{each['operations'] / 1e9:.1f}", f"{each['update_s']:.2f}",
             f"{each['peak_mb']:.0f}",
             *(f"{each[name] / first[name]:.3f}" for name in ("rows", "operations", "update_s", "peak_mb")))
            for each in found
        ],
    )  # fmt: skip
