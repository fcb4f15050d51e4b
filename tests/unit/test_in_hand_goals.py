"""Where the goals of the in-hand tasks are drawn."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from sapg_isaaclab.tasks.in_hand import goals, rewards

COUNT = 4000


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_rotations(count):
    return torch.tensor(Rotation.random(count, rng=0).as_quat(), dtype=torch.float32)


def test_angles_fill_the_interval_evenly():
    present = random_rotations(COUNT)
    drawn = goals.near(present, 0.25, torch.tensor(0.8))
    torch.testing.assert_close(drawn.norm(dim=-1), torch.ones(COUNT))
    angles = rewards.rotation_error(present, drawn)
    assert 0.2499 < angles.min() < 0.26 and 0.79 < angles.max() < 0.8001
    # uniform on [0.25, 0.8]: mean 0.525, deviation 0.159 (0.0025 of the mean)
    assert angles.mean().item() == pytest.approx(0.525, abs=0.01)
    assert angles.std().item() == pytest.approx(0.55 / math.sqrt(12), abs=0.005)


def test_axes_point_everywhere_and_the_turn_is_in_the_world():
    present = random_rotations(COUNT)
    drawn = goals.near(present, 0.5, torch.tensor(0.5))
    turn = Rotation.from_quat(drawn.numpy()) * Rotation.from_quat(present.numpy()).inv()
    axes = torch.from_numpy(turn.as_rotvec()) / 0.5
    torch.testing.assert_close(axes.norm(dim=-1), torch.ones(COUNT, dtype=torch.float64), atol=1e-4, rtol=0)
    # uniform on the sphere: mean 0, covariance 1/3; 4 standard errors
    assert axes.mean(0).abs().max() < 4 / math.sqrt(3 * COUNT)
    torch.testing.assert_close(axes.T @ axes / COUNT, torch.eye(3, dtype=torch.float64) / 3, atol=0.03, rtol=0)


def test_every_object_has_a_largest_angle_of_its_own():
    present = random_rotations(6)
    high = torch.tensor([0.3, 0.3, 1.0, 1.0, math.pi, math.pi])
    for _ in range(100):
        angles = rewards.rotation_error(present, goals.near(present, 0.25, high))
        assert (angles > 0.2499).all() and (angles < high + 1e-4).all()


def test_official_goals_are_a_turn_about_y_then_x():
    torch.manual_seed(3)
    drawn = goals.official(COUNT, "cpu")
    torch.manual_seed(3)
    u, v = 2.0 * math.pi * (torch.rand(2, COUNT) - 0.5)
    expected = Rotation.from_euler("XY", torch.stack((u, v), dim=-1).numpy())
    same = (torch.tensor(expected.as_quat(), dtype=torch.float32) * drawn).sum(-1).abs()
    torch.testing.assert_close(same, torch.ones(COUNT))
