"""From an environment and options to a PQL agent."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.agents.options import flat_spaces
from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.networks import Actor, DistributionalCritic, DoubleCritic
from sapg_isaaclab.agents.pql.replay import Replay


def build(env: Any, cfg: PqlCfg, with_memory: bool) -> PQL:
    """Wire networks, replay and agent; see :func:`~sapg_isaaclab.agents.build.build_agent`.

    Args:
        env: Environment in skrl's wrapper.
        cfg: Options.
        with_memory: False for an agent that only acts.

    Returns:
        The agent.

    Raises:
        ValueError: If an option is wrong or does not suit the environment.
    """
    cfg.check(env.num_envs if with_memory else None)
    spaces = flat_spaces(env, "PQL")
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
