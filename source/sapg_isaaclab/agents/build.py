"""From an environment and a configuration to a ready agent."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.agents.algorithms import ALGORITHMS, algorithm_of
from sapg_isaaclab.agents.options import flat_spaces
from sapg_isaaclab.agents.ranks import Ranks


def build_agent(env: Any, cfg: Any, *, with_memory: bool = True) -> Any:
    """Wire models, memory and agent for an environment.

    Args:
        env: Environment in skrl's wrapper (:class:`~.contract.VectorEnv`). Observations and states are flat Boxes or
            dictionaries of them, actions a flat Box.
        cfg: Options of the agent; their class says which of :data:`~.algorithms.ALGORITHMS` it is.
        with_memory: False for an agent that only acts, in any number of environments.

    Returns:
        The agent (:class:`~.contract.TrainableAgent`), ready for skrl's trainers (which call ``init``) or ours.

    Raises:
        ValueError: If an option is wrong, a space is no vector, or the algorithm cannot train on several
            ranks.
    """
    algorithm = algorithm_of(cfg)
    if Ranks.current().size > 1 and not algorithm.several_ranks:
        able = dict.fromkeys(other.cfg for other in ALGORITHMS.values() if other.several_ranks)
        raise ValueError(f"{type(cfg).__name__} trains in one process; on several ranks use {' or '.join(able)}")
    cfg.check(env.num_envs if with_memory else None)
    return algorithm.build(env, cfg, flat_spaces(env), with_memory)
