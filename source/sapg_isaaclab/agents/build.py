"""From an environment and a configuration to a ready agent: the only place that wires."""

from __future__ import annotations

import types
from typing import Any

from skrl.agents.torch import Agent, AgentCfg

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.options import flat_spaces
from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.networks import Actor, DistributionalCritic, DoubleCritic
from sapg_isaaclab.agents.pql.replay import Replay
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.networks import BlockActorCritic


def build_agent(env: Any, cfg: AgentCfg, *, with_memory: bool = True) -> Agent:
    """Wire models, memory and agent for an environment.

    Args:
        env: Environment in skrl's wrapper, with flat Box spaces.
        cfg: Options of the agent; their class says which: :class:`SapgCfg`, :class:`DexPbtCfg` or :class:`PqlCfg`.
        with_memory: False for an agent that only acts, in any number of environments.

    Returns:
        The agent, ready for skrl's trainers (which call ``init``) or ours.

    Raises:
        ValueError: If an option is wrong, a space is not a flat Box, or the algorithm cannot train on several ranks.
    """
    if Ranks.current().size > 1 and type(cfg) is not SapgCfg:
        raise ValueError(f"{type(cfg).__name__} trains in one process; on several ranks use SapgCfg")
    build = {PqlCfg: _pql, DexPbtCfg: _dexpbt, SapgCfg: _sapg}[type(cfg)]
    return build(env, cfg, with_memory)


def _sapg(env: Any, cfg: SapgCfg, with_memory: bool) -> SAPG:
    cfg.check(env.num_envs if with_memory else None)
    spaces = flat_spaces(env, "SAPG")
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


def _dexpbt(env: Any, cfg: DexPbtCfg, with_memory: bool) -> DexPBT:
    layout = cfg.check(env.num_envs if with_memory else None)
    spaces = flat_spaces(env, "DexPBT")
    block = types.SimpleNamespace(num_envs=layout.block_size, device=env.device, **spaces)
    task = env.unwrapped
    # where learners are ranked by their reward, its weights must stay
    ranked = "true_objective" in getattr(task, "extras", {})
    return DexPBT(
        learners=[_sapg(block, cfg.learner_cfg(), with_memory) for _ in range(cfg.num_blocks)],
        cfg=cfg,
        reward_weights=task.reward_weights if ranked else None,
        curriculum=getattr(task, "curriculum", None),
        device=env.device,
        **spaces,
    )


def _pql(env: Any, cfg: PqlCfg, with_memory: bool) -> PQL:
    cfg.check(env.num_envs if with_memory else None)
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
