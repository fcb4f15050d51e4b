"""What a policy knows of a pose: by hand, frame by frame."""

from types import SimpleNamespace

import pytest
import torch
from isaaclab.utils.math import quat_error_magnitude

from sapg_isaaclab.tasks.pose_estimate import PoseEstimate, PoseEstimateCfg, check_asymmetry

N = 6


def poses(number, count=N):
    """Poses whose first coordinate is a number."""
    pose = torch.zeros(count, 7)
    pose[:, 0], pose[:, 6] = number, 1.0
    return pose


def estimate(count=N, **errors):
    torch.manual_seed(0)
    return PoseEstimate(PoseEstimateCfg(**errors), count, "cpu")


def shown(eyes, numbers, first=0):
    """First coordinates that are seen, shape (steps, N)."""
    return torch.stack([eyes.look(poses(number), first + step)[:, 0] for step, number in enumerate(numbers)])


def test_without_errors_it_is_the_pose_and_draws_nothing():
    eyes, pose = estimate(), torch.randn(N, 7)
    before = torch.get_rng_state()
    assert eyes.look(pose, 0) is pose and torch.get_rng_state().equal(before)


def test_every_episode_has_a_delay_of_its_own_and_begins_with_its_first_frame():
    eyes = estimate(max_delay=2)
    delay = torch.tensor([0, 1, 2, 0, 1, 2])
    eyes.look(poses(10.0), 0)
    eyes._delay.copy_(delay)
    after = shown(eyes, [11.0, 12.0, 13.0], first=1)
    assert after.tolist() == [[11, 10, 10, 11, 10, 10], [12, 11, 10, 12, 11, 10], [13, 12, 11, 13, 12, 11]]
    # the last two begin an episode: nothing of the old one is shown
    eyes.restart(torch.tensor([4, 5]))
    assert eyes.look(poses(50.0), 4)[:, 0].tolist() == [50, 13, 12, 50, 50, 50]
    many = estimate(3000, max_delay=2)
    many.look(poses(0.0, 3000), 0)
    assert torch.bincount(many._delay) / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_second_look_in_a_step_sees_the_same_but_where_an_episode_began():
    """As it happens where an episode ends: one look at its last state, one at the first of the next."""
    eyes = estimate(max_delay=1, position_noise=0.1, drop_probability=0.3)
    for step in range(5):
        eyes.look(poses(float(step)), step)
    first = eyes.look(poses(5.0), 5)
    eyes.restart(torch.tensor([2]))
    second = eyes.look(poses(60.0), 5)
    assert second[2, 0] == pytest.approx(60.0, abs=0.5)
    others = [0, 1, 3, 4, 5]
    assert second[others].equal(first[others])


def test_a_missing_frame_leaves_the_one_before(monkeypatch):
    eyes = estimate(drop_probability=0.5)
    eyes.look(poses(0.0), 0)
    draws = iter([[0.4, 0.6, 0.4, 0.6, 0.6, 0.4], [0.4, 0.4, 0.6, 0.6, 0.6, 0.6]])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(next(draws)).unsqueeze(-1))
    assert shown(eyes, [1.0, 2.0], first=1).tolist() == [[0, 1, 0, 1, 1, 0], [0, 1, 2, 2, 2, 2]]


def test_frames_are_missing_as_often_as_they_should_be():
    eyes = estimate(2000, drop_probability=0.25)
    eyes.look(poses(-1.0, 2000), 0)
    stays = [(eyes.look(poses(float(step), 2000), 1 + step)[:, 0] != step).float().mean() for step in range(10)]
    assert torch.stack(stays).mean().item() == pytest.approx(0.25, abs=0.02)


def test_noise_has_its_size_in_metres_and_radians_and_quaternions_stay_units():
    eyes = estimate(20000, position_noise=0.02, rotation_noise=0.1)
    pose = torch.zeros(20000, 7)
    pose[:, 3:] = torch.tensor([0.5, 0.5, 0.5, 0.5])
    seen = eyes.look(pose, 0)
    assert seen[:, :3].std(dim=0).tolist() == pytest.approx([0.02] * 3, rel=0.03)
    assert seen[:, 3:].norm(dim=-1) == pytest.approx(torch.ones(20000), abs=1e-6)
    # root mean square of the length of a vector with a deviation of 0.1 on three axes
    turn = quat_error_magnitude(seen[:, 3:], pose[:, 3:])
    assert turn.square().mean().sqrt().item() == pytest.approx(0.1 * 3**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"position_noise": -0.1}, "pose_estimate.position_noise=-0.1 is not allowed; use 0 or more"),
        ({"drop_probability": 1.0}, "pose_estimate.drop_probability=1.0 is not allowed"),
    ],
)
def test_errors_without_a_meaning_are_refused(errors, message):
    with pytest.raises(ValueError, match=message):
        PoseEstimateCfg(**errors).check()


def test_a_task_without_a_state_for_its_critic_is_refused():
    cfg = SimpleNamespace(pose_estimate=PoseEstimateCfg(), asymmetric=True, state_space=0)
    with pytest.raises(ValueError, match="has no state for its critic"):
        check_asymmetry(cfg)
    cfg.state_space = 88
    check_asymmetry(cfg)
