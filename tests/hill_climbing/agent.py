"""Hill climbing as an agent: a linear policy changes at random, and goes back where it was if that did not pay."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from skrl.models.torch import DeterministicMixin, Model

from hill_climbing.cfg import HillClimbingCfg
from sapg_isaaclab.agents.base import AgentArguments, BaseAgent
from sapg_isaaclab.agents.contract import Transition


class Linear(DeterministicMixin, Model):
    """Actions that are linear in the observations."""

    def __init__(self, observation_space, action_space, device) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        DeterministicMixin.__init__(self)
        self.weight = torch.nn.Parameter(torch.zeros(self.num_actions, self.num_observations, device=self.device))

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        return inputs["observations"] @ self.weight.T, {}


class Player:
    """The best policy so far."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        return observations @ self._weight.T

    def reset(self, done: torch.Tensor) -> None:
        pass


class HillClimbing(BaseAgent):
    """Keeps a change of a linear policy if the mean reward of an iteration was no worse than the best one's."""

    CFG = HillClimbingCfg
    cfg: HillClimbingCfg

    def __init__(self, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(**arguments)
        self.weight = self.models["policy"].weight
        self.best = self.weight.detach().clone()
        self.best_reward = torch.tensor(-float("inf"), device=self.device)
        self.total = torch.zeros((), device=self.device)
        self.generator = torch.Generator().manual_seed(self.cfg.seed)
        self.steps = 0

    def sizes(self) -> dict[str, str]:
        return {"environments": str(self.layout.num_envs)}

    def act(self, observations, states, *, timestep: int, timesteps: int):
        return self.models["policy"].act({"observations": observations})

    def player(self, block: int = 0, *, deterministic: bool = True) -> Player:
        return Player(self.best)

    def record(self, step: Transition) -> None:
        if self.training:
            self.total += step.rewards.mean()

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        self.steps += 1
        if self.steps % self.cfg.rollouts == 0:
            self.update(timestep=timestep, timesteps=timesteps)

    @torch.no_grad()
    def update(self, *, timestep: int, timesteps: int) -> None:
        reward = self.total / self.cfg.rollouts
        if reward >= self.best_reward:
            self.best_reward = reward.clone()
            self.best.copy_(self.weight)
        change = torch.randn(self.weight.shape, generator=self.generator).to(self.device)
        self.weight.copy_(self.best + self.cfg.step * change)
        self.total.zero_()
        self.publish({"Policy/best_reward": self.best_reward.item()})

    def restart_episodes(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {
            "hill_climbing": {"weight": self.weight.detach(), "best": self.best, "best_reward": self.best_reward},
            "generator": self.generator.get_state(),
        }

    def load_policy(self, state: dict[str, Any]) -> None:
        if "hill_climbing" not in state:
            raise ValueError("the checkpoint is not of hill climbing")
        self.best.copy_(state["hill_climbing"]["best"])

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.load_policy(state)
        self.weight.copy_(state["hill_climbing"]["weight"])
        self.best_reward.copy_(state["hill_climbing"]["best_reward"])
        self.generator.set_state(state["generator"])
