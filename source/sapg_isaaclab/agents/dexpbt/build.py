"""From an environment and options to a population of learners."""

from __future__ import annotations

import types
from typing import Any

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.ranks import ALONE
from sapg_isaaclab.agents.sapg.build import build as build_learner


def build(env: Any, cfg: DexPbtCfg, spaces: dict[str, Any], with_memory: bool) -> DexPBT:
    """Wire learners and population; see :meth:`~sapg_isaaclab.agents.algorithms.Algorithm.build`."""
    layout = cfg.check(env.num_envs if with_memory else None)
    block = types.SimpleNamespace(num_envs=layout.block_size, device=env.device)
    task = env.unwrapped
    # where learners are ranked by their reward, its weights must stay
    ranked = "true_objective" in getattr(task, "extras", {})
    # a learner shares nothing with those of other ranks
    learners = [build_learner(block, cfg.learner_cfg(), spaces, with_memory, ALONE) for _ in layout.held]
    return DexPBT(
        learners=learners,
        cfg=cfg,
        reward_weights=task.reward_weights if ranked else None,
        curriculum=getattr(task, "curriculum", None),
        device=env.device,
        **spaces,
    )
