"""From an environment and options to an agent."""

from hill_climbing.agent import HillClimbing, Linear


def build(env, cfg, spaces, with_memory):
    policy = Linear(spaces["observation_space"], spaces["action_space"], env.device)
    num_envs = env.num_envs if with_memory else None
    return HillClimbing(models={"policy": policy}, num_envs=num_envs, device=env.device, cfg=cfg, **spaces)
