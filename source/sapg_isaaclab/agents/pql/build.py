"""From an environment and a configuration to a ready PQL agent."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.agents.options import flat_spaces
from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.networks import Actor, DistributionalCritic, DoubleCritic
from sapg_isaaclab.agents.pql.replay import Replay


def build_pql(env: Any, cfg: PqlCfg, *, with_memory: bool = True) -> PQL:
    """Wire networks, replay and agent for an environment.

    Args:
        env: Environment in skrl's wrapper, with flat Box spaces.
        cfg: Options of the agent.
        with_memory: False for an agent that only acts, in any number of environments.

    Returns:
        The agent, ready for skrl's trainers (which call ``init``) or ours.

    Raises:
        ValueError: If an option is wrong or a space is not a flat Box.
    """
    cfg.check(env.num_envs if with_memory else 1)
    spaces = flat_spaces(env, "PQL")
    seen = (spaces["observation_space"], spaces["action_space"], env.device)
    shape = {"hidden_sizes": cfg.hidden_sizes, "activation": cfg.activation}
    actor = Actor(*seen, **shape)
    if cfg.critic == "distributional":
        critic: DoubleCritic = DistributionalCritic(*seen, atoms=cfg.atoms, value_range=cfg.value_range, **shape)
    else:
        critic = DoubleCritic(*seen, **shape)
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
