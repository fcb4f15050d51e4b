"""From an environment and a configuration to a ready agent: the only place that wires."""

from __future__ import annotations

from typing import Any

import gymnasium

from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.models import BlockActorCritic
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.cfg import SapgCfg


def build_agent(env: Any, cfg: SapgCfg, *, with_memory: bool = True) -> SAPG:
    """Wire models, memory and agent for an environment.

    Args:
        env: Environment in skrl's wrapper, with flat Box spaces.
        cfg: Options of the agent.
        with_memory: False for an agent that only acts, in any number of environments.

    Returns:
        The agent, ready for skrl's trainers (which call ``init``) or ours.

    Raises:
        ValueError: If an option is wrong or a space is not a flat Box.
    """
    cfg.check(env.num_envs if with_memory else cfg.num_blocks)
    spaces = {
        "observation_space": env.observation_space,
        "state_space": env.state_space,
        "action_space": env.action_space,
    }
    for name, space in spaces.items():
        flat = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        if not flat and not (name == "state_space" and space is None):
            raise ValueError(f"the environment's {name} is {space}; SAPG needs a flat Box (one vector of numbers)")
    model = BlockActorCritic(
        **spaces,
        device=env.device,
        num_blocks=cfg.num_blocks,
        latent_dim=cfg.latent_dim,
        hidden_sizes=cfg.hidden_sizes,
        activation=cfg.activation,
        separate=cfg.separate,
        critic_states=cfg.critic_input == "states",
        critic_latent=cfg.critic_latent,
        std_mode=cfg.std_mode,
        initial_log_std=cfg.initial_log_std,
        rnn_units=cfg.rnn_units,
        rnn_before_mlp=cfg.rnn_before_mlp,
        rnn_layer_norm=cfg.rnn_layer_norm,
    )
    memory = BlockMemory(cfg.rollouts, env.num_envs, cfg.num_blocks, env.device) if with_memory else None
    return SAPG(models={"policy": model, "value": model}, memory=memory, device=env.device, cfg=cfg, **spaces)
