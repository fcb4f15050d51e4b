"""From an environment and options to a population of learners."""

from __future__ import annotations

import types
from typing import Any

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.options import flat_spaces
from sapg_isaaclab.agents.sapg.build import build as build_learner


def build(env: Any, cfg: DexPbtCfg, with_memory: bool) -> DexPBT:
    """Wire learners and population; see :func:`~sapg_isaaclab.agents.build.build_agent`.

    Args:
        env: Environment in skrl's wrapper, whose task may be a :class:`~sapg_isaaclab.agents.contract.PopulationTask`.
        cfg: Options.
        with_memory: False for a population that only acts.

    Returns:
        The agent.

    Raises:
        ValueError: If an option is wrong or does not suit the environment.
    """
    layout = cfg.check(env.num_envs if with_memory else None)
    spaces = flat_spaces(env, "DexPBT")
    block = types.SimpleNamespace(num_envs=layout.block_size, device=env.device, **spaces)
    task = env.unwrapped
    # where learners are ranked by their reward, its weights must stay
    ranked = "true_objective" in getattr(task, "extras", {})
    return DexPBT(
        learners=[build_learner(block, cfg.learner_cfg(), with_memory) for _ in range(cfg.num_blocks)],
        cfg=cfg,
        reward_weights=task.reward_weights if ranked else None,
        curriculum=getattr(task, "curriculum", None),
        device=env.device,
        **spaces,
    )
