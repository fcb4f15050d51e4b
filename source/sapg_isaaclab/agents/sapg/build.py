"""From an environment and options to a SAPG agent."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.networks import BlockActorCritic


def build(env: Any, cfg: SapgCfg, spaces: dict[str, Any], with_memory: bool, ranks: Ranks | None = None) -> SAPG:
    """Wire networks, memory and agent; see :meth:`~sapg_isaaclab.agents.algorithms.Algorithm.build`.

    ``ranks`` are the processes that train it together, by default those of torch's process group.
    """
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
        critic_hidden_sizes=cfg.critic_hidden_sizes,
        critic_rnn_units=cfg.critic_rnn_units,
        std_mode=cfg.std_mode,
        initial_log_std=cfg.initial_log_std,
        initial_latent_std=cfg.initial_latent_std,
        rnn_units=cfg.rnn_units,
        rnn_before_mlp=cfg.rnn_before_mlp,
        rnn_layer_norm=cfg.rnn_layer_norm,
    )
    memory = BlockMemory(cfg.rollouts, env.num_envs, cfg.num_blocks, env.device) if with_memory else None
    models = {"policy": model, "value": model}
    return SAPG(models=models, memory=memory, device=env.device, cfg=cfg, ranks=ranks, **spaces)
