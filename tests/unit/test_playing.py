import pytest
import torch

from sapg_isaaclab.commands.episodes import run_episodes
from sapg_isaaclab.errors import TrainingError


class Clock:
    """Environment n has episodes of n + 1 steps, and a reward of 1 per step."""

    def __init__(self, num_envs, reward=1.0):
        self.num_envs, self.device, self.reward = num_envs, torch.device("cpu"), reward

    def reset(self):
        self.age = torch.zeros(self.num_envs, dtype=torch.long)
        return torch.zeros(self.num_envs, 1), {}

    def step(self, actions):
        self.age += 1
        done = self.age > torch.arange(self.num_envs)
        self.age[done] = 0
        rewards = torch.full((self.num_envs, 1), self.reward)
        successes = {"successes": torch.arange(self.num_envs, dtype=torch.float32)}
        return torch.zeros(self.num_envs, 1), rewards, done[:, None], torch.zeros_like(done)[:, None], successes


class Policy:
    """Does nothing, and keeps what it is told of finished episodes."""

    def __init__(self):
        self.ended = 0

    def __call__(self, observations):
        return observations

    def reset(self, done):
        self.ended += int(done.sum())


def test_every_environment_gives_the_same_number_of_episodes():
    result = run_episodes(Clock(4), Policy(), episodes=7)
    # 7 / 4 rounded up: two episodes of each; the first to finish would have been almost only the short ones
    assert sorted(result.returns) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert sorted(result.lengths) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert sorted(result.successes) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_a_number_of_steps_counts_what_finishes_and_calls_back():
    calls = []
    policy = Policy()
    result = run_episodes(Clock(2), policy, steps=4, on_step=lambda: calls.append(1))
    assert len(calls) == 4 and policy.ended == len(result.returns)
    assert sorted(result.lengths) == [1, 1, 1, 1, 2, 2]


def test_a_reward_that_is_not_finite_is_an_error():
    with pytest.raises(TrainingError, match="not finite"):
        run_episodes(Clock(2, reward=float("nan")), Policy(), episodes=2)


class Fragile(Clock):
    """The last environment breaks down in each of its first ``times`` episodes."""

    def __init__(self, num_envs, times):
        super().__init__(num_envs)
        self.times = times

    def step(self, actions):
        observations, rewards, terminated, truncated, infos = super().step(actions)
        broken = torch.zeros(self.num_envs, dtype=torch.bool)
        if terminated[-1] and self.times:
            broken[-1], self.times = True, self.times - 1
        return observations, rewards, terminated, truncated, {**infos, "broken": broken}


def test_another_episode_takes_the_place_of_one_that_broke_down():
    result = run_episodes(Fragile(3, times=2), Policy(), episodes=6)
    assert sorted(result.lengths) == [1, 1, 2, 2, 3, 3] and result.broken == 2
    assert sorted(run_episodes(Fragile(2, times=1), Policy(), steps=4).lengths) == [1, 1, 1, 1, 2]


def test_an_environment_that_always_breaks_down_ends_the_evaluation():
    with pytest.raises(TrainingError, match="5 episodes broke down within 10 steps"):
        run_episodes(Fragile(2, times=100), Policy(), episodes=3)
