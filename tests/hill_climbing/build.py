"""From an environment and options to an agent."""

from hill_climbing.agent import HillClimbing, Linear
from sapg_isaaclab.agents.options import flat_spaces


def build(env, cfg, with_memory):
    spaces = flat_spaces(env, "hill climbing")
    policy = Linear(spaces["observation_space"], spaces["action_space"], env.device)
    num_envs = env.num_envs if with_memory else None
    return HillClimbing(models={"policy": policy}, num_envs=num_envs, device=env.device, cfg=cfg, **spaces)
