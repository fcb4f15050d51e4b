import pytest
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.training.episodes import EpisodeTracker


def run(tracker, rewards, dones, successes=None):
    """Rewards and dones of shape (T, N)."""
    for index, (reward, done) in enumerate(zip(rewards, dones)):
        tracker.step(index, torch.tensor(reward), torch.tensor(done), successes)
    tracker.finish_iteration()


def test_return_and_length_of_an_episode_over_two_iterations():
    tracker = EpisodeTracker(BlockLayout(2, 2), rollouts=2, device="cpu")
    run(tracker, [[1.0, 10.0], [2.0, 20.0]], [[False, False], [False, True]])
    # env 1: 10 + 20 in 2 steps; env 0 is under way
    assert tracker.mean(0) == {}
    assert tracker.mean(1) == {"return": 30.0, "length": 2.0}
    run(tracker, [[3.0, 5.0], [4.0, 7.0]], [[True, False], [False, True]])
    # env 0: 1 + 2 + 3 in 3 steps; env 1: 30 before and 5 + 7 now
    assert tracker.mean(0) == {"return": 6.0, "length": 3.0}
    assert tracker.mean(1) == {"return": 21.0, "length": 2.0}
    assert tracker.finished == [1, 2]


def test_means_run_over_the_newest_episodes_only():
    tracker = EpisodeTracker(BlockLayout(1, 1), rollouts=4, device="cpu", window=3)
    run(tracker, [[1.0], [2.0], [3.0], [4.0]], [[True]] * 4)
    assert tracker.mean(0)["return"] == pytest.approx((2 + 3 + 4) / 3)
    assert tracker.metrics(0) == {"Leader/return": 3.0, "Leader/length": 1.0, "Leader/episodes": 4.0}


def test_successes_are_those_of_the_episodes_that_ended():
    tracker = EpisodeTracker(BlockLayout(4, 2), rollouts=1, device="cpu")
    run(tracker, [[0.0] * 4], [[True, False, True, True]], torch.tensor([5.0, 99.0, 1.0, 2.0]))
    metrics = tracker.metrics(0)
    assert metrics["Leader/successes"] == metrics["Block_0/successes"] == 5.0
    assert metrics["Block_1/successes"] == 1.5


def test_restart_forgets_what_was_under_way():
    tracker = EpisodeTracker(BlockLayout(1, 1), rollouts=1, device="cpu")
    run(tracker, [[100.0]], [[False]])
    tracker.restart()
    run(tracker, [[1.0]], [[True]])
    assert tracker.mean(0) == {"return": 1.0, "length": 1.0}


def test_state_goes_on_in_another_tracker():
    first = EpisodeTracker(BlockLayout(2, 2), rollouts=1, device="cpu")
    run(first, [[1.0, 2.0]], [[False, True]])
    second = EpisodeTracker(BlockLayout(2, 2), rollouts=1, device="cpu")
    second.load_state_dict(first.state_dict())
    for tracker in (first, second):
        run(tracker, [[10.0, 20.0]], [[True, True]])
    assert first.metrics(0) == second.metrics(0)
    assert second.mean(0)["return"] == 11.0 and second.mean(1)["return"] == 11.0
