"""From an environment and options to a PQL agent."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.networks import Actor, DistributionalCritic, DoubleCritic
from sapg_isaaclab.agents.pql.replay import Replay


def build(env: Any, cfg: PqlCfg, spaces: dict[str, Any], with_memory: bool) -> PQL:
    """Wire networks, replay and agent; see :meth:`~sapg_isaaclab.agents.algorithms.Algorithm.build`."""
    sides = (spaces["observation_space"], spaces["action_space"], env.device)
    actor = Actor(*sides, hidden_sizes=cfg.hidden_sizes, activation=cfg.activation)
    if cfg.critic == "distributional":
        critic: DoubleCritic = DistributionalCritic(
            *sides,
            atoms=cfg.atoms,
            value_range=cfg.value_range,
            hidden_sizes=cfg.hidden_sizes,
            activation=cfg.activation,
        )
    else:
        critic = DoubleCritic(*sides, hidden_sizes=cfg.hidden_sizes, activation=cfg.activation)
    memory = None
    if with_memory:
        memory = Replay(
            cfg.replay_size,
            env.num_envs,
            actor.num_observations,
            actor.num_actions,
            n_step=cfg.n_step,
            gamma=cfg.discount_factor,
            device=env.device,
        )
    return PQL(models={"policy": actor, "critic": critic}, memory=memory, device=env.device, cfg=cfg, **spaces)
