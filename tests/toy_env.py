"""A torch-only vectorised task with the same contract as the wrapped simulation tasks.

A point on a plane is pushed towards a goal. It needs no simulator, learns within seconds, and can save and restore its
whole state, so that a resumed run can be compared bit by bit with an uninterrupted one.
"""

from __future__ import annotations

import copy

import gymnasium
import torch


class ToyEnv:
    """Push a point to a goal that is drawn anew in every episode.

    Observation (5,): position (2), goal - position (2), share of the episode left (1). Action (2,): displacement in
    tenths. Reward: minus the distance to the goal. An episode terminates outside the square of half-width 2, and is
    truncated after ``episode_length`` steps.
    """

    def __init__(self, num_envs: int, seed: int = 0, episode_length: int = 20, device: str = "cpu") -> None:
        self.num_envs, self.device, self.episode_length = num_envs, torch.device(device), episode_length
        self.observation_space = gymnasium.spaces.Box(-float("inf"), float("inf"), (5,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        self.state_space = None
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.reset()

    @property
    def unwrapped(self) -> ToyEnv:
        return self

    def _uniform(self, *shape: int) -> torch.Tensor:
        return 2.0 * torch.rand(*shape, generator=self.generator, device=self.device) - 1.0

    def _observe(self) -> torch.Tensor:
        left = 1.0 - self.age[:, None] / self.episode_length
        return torch.cat((self.position, self.goal - self.position, left), dim=1)

    def reset(self) -> tuple[torch.Tensor, dict]:
        self.position = self._uniform(self.num_envs, 2)
        self.goal = self._uniform(self.num_envs, 2)
        self.age = torch.randint(self.episode_length, (self.num_envs,), generator=self.generator, device=self.device)
        self.successes = torch.zeros(self.num_envs, device=self.device)
        self.steps = 0
        return self._observe(), {}

    def step(self, actions: torch.Tensor):
        self.steps += 1
        self.position = self.position + 0.1 * actions.clamp(-1.0, 1.0)
        self.age = self.age + 1
        distance = (self.goal - self.position).norm(dim=1)
        terminated = (self.position.abs() > 2.0).any(dim=1)
        truncated = self.age >= self.episode_length
        infos = {"final_obs": {"policy": self._observe()}}
        done = terminated | truncated
        self.successes = torch.where(done, (distance < 0.1).float(), self.successes)
        fresh_position, fresh_goal = self._uniform(self.num_envs, 2), self._uniform(self.num_envs, 2)
        self.position = torch.where(done[:, None], fresh_position, self.position)
        self.goal = torch.where(done[:, None], fresh_goal, self.goal)
        self.age = torch.where(done, 0, self.age)
        infos["successes"] = self.successes
        infos["log"] = {"Metrics/successes": self.successes.mean()}
        return self._observe(), -distance[:, None], terminated[:, None], truncated[:, None], infos

    def state(self) -> None:
        return None

    def render(self) -> None:
        return None

    def close(self) -> None:
        return None

    def state_dict(self) -> dict:
        keys = ("position", "goal", "age", "successes")
        return {key: getattr(self, key).clone() for key in keys} | {
            "steps": self.steps,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> torch.Tensor:
        """Restore the whole environment and return its observations, shape (N, 5)."""
        for key in ("position", "goal", "age", "successes"):
            setattr(self, key, state[key].to(self.device))
        self.steps = state["steps"]
        self.generator.set_state(state["generator"].cpu())
        return self._observe()


class PrivilegedToyEnv(ToyEnv):
    """The same, whose critic sees everything and whose policy sees the first ``seen`` columns of it."""

    def __init__(self, num_envs: int, seen: int = 5, **options) -> None:
        self.seen = seen
        super().__init__(num_envs, **options)
        self.observation_space = gymnasium.spaces.Box(-float("inf"), float("inf"), (seen,))
        self.state_space = gymnasium.spaces.Box(-float("inf"), float("inf"), (5,))

    def state(self) -> torch.Tensor:
        return self._observe()

    def reset(self) -> tuple[torch.Tensor, dict]:
        observations, infos = super().reset()
        return observations[:, : self.seen], infos

    def step(self, actions: torch.Tensor):
        observations, *rest, infos = super().step(actions)
        final = infos["final_obs"]["policy"]
        infos["final_obs"] = {"policy": final[:, : self.seen], "critic": final}
        return observations[:, : self.seen], *rest, infos

    def load_state_dict(self, state: dict) -> torch.Tensor:
        return super().load_state_dict(state)[:, : self.seen]


def run(agent, env, steps: int, observations=None) -> torch.Tensor:
    """Steps as skrl's sequential trainer takes them; returns the observations after the last one."""
    observations = env.reset()[0] if observations is None else observations
    clock = {"timestep": 0, "timesteps": 0}
    for _ in range(steps):
        states = env.state()
        actions, _ = agent.act(observations, states, **clock)
        after, rewards, terminated, truncated, infos = env.step(actions)
        agent.record_transition(
            observations=observations, states=states, actions=actions, rewards=rewards, next_observations=after,
            next_states=env.state(), terminated=terminated, truncated=truncated, infos=infos, **clock,
        )  # fmt: skip
        agent.post_interaction(**clock)
        observations = after
    return observations


def check_resume(first, second, steps: int = 8) -> None:
    """An agent that is saved in the middle and loaded into another one goes on bit for bit.

    Both are agent and environment, made with the same options; the second pair with another seed.
    """
    (agent, env), (other, other_env) = first, second
    observations = run(agent, env, steps)
    state, env_state = copy.deepcopy(agent.state_dict()), copy.deepcopy(env.state_dict())
    random = torch.get_rng_state()
    run(agent, env, steps, observations)
    other.load_state_dict(state)
    observations = other_env.load_state_dict(env_state)
    torch.set_rng_state(random)
    run(other, other_env, steps, observations)
    for name, value in agent.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert agent.metrics == other.metrics
