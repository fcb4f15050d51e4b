"""A population of learners on the toy task."""

import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.tasks.curriculum import Curriculum, Way
from toy_env import ToyEnv

SMALL = {
    "hidden_sizes": (16, 16),
    "rollouts": 4,
    "sequence_length": 2,
    "num_blocks": 3,
    "interval": 32,
    "start_after": 0,
    "initial_delay": 0,
}


class PopulationEnv(ToyEnv):
    """The toy task with what a population reaches into: weights of the reward, an objective, a curriculum."""

    def __init__(self, num_envs: int, seed: int = 0, groups: int = 3, **kwargs) -> None:
        super().__init__(num_envs, seed=seed, **kwargs)
        self.reward_weights = {"distance": torch.ones(num_envs), "alive": torch.full((num_envs,), -0.5)}
        self.curriculum = Curriculum({"tolerance": Way(initial=1.0, final=0.1, factor=0.9)}, groups=groups)
        self.objective: torch.Tensor | None = None
        """What every environment's episodes are worth, shape (N,); successes if None."""
        self.extras = {"true_objective": self.successes}

    def step(self, actions):
        observations, rewards, terminated, truncated, infos = super().step(actions)
        weights = {name: weight.unsqueeze(1) for name, weight in self.reward_weights.items()}
        infos["true_objective"] = self.successes if self.objective is None else self.objective
        return observations, rewards * weights["distance"] + weights["alive"], terminated, truncated, infos


class RankedByReward(ToyEnv):
    """The same task without anything that a population reaches into."""


def make_population(env_class=PopulationEnv, num_envs=12, seed=0, episode_length=4, **options):
    torch.manual_seed(seed)
    env = env_class(num_envs, seed=seed, episode_length=episode_length)
    cfg = DexPbtCfg(**{**SMALL, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env
