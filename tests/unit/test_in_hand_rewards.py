"""Reward terms of the in-hand tasks against numbers worked by hand."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from sapg_isaaclab.tasks.in_hand import rewards


def test_position_term():
    # -10 * 0.24 m
    assert rewards.position_term(torch.tensor([0.0, 0.24]), scale=-10.0).tolist() == pytest.approx([0.0, -2.4])


def test_rotation_term():
    # 1 / (0 + 0.1) = 10; 1 / (0.4 + 0.1) = 2; 1 / (pi + 0.1) = 0.308490
    values = rewards.rotation_term(torch.tensor([0.0, 0.4, math.pi]), scale=1.0, eps=0.1)
    assert values.tolist() == pytest.approx([10.0, 2.0, 0.308490], rel=1e-5)


def test_action_term():
    # -0.0002 * 16 joints * 1^2 = -0.0032; -0.0002 * (0.25 + 0.04) = -5.8e-5
    actions = torch.zeros(2, 16)
    actions[0] = 1.0
    actions[1, 3], actions[1, 7] = 0.5, -0.2
    assert rewards.action_term(actions, scale=-0.0002).tolist() == pytest.approx([-0.0032, -5.8e-5])


def test_success_and_fall_terms():
    flags = torch.tensor([True, False])
    assert rewards.success_term(flags, bonus=250.0).tolist() == [250.0, 0.0]
    assert rewards.fall_term(flags, penalty=-3.0).tolist() == [-3.0, 0.0]


def test_rotation_error_of_known_turns():
    half = math.sqrt(0.5)
    identity = [0.0, 0.0, 0.0, 1.0]
    object_quat = torch.tensor([identity, [0.0, 0.0, half, half], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]])
    goal_quat = torch.tensor([identity] * 4)
    # the same, a quarter turn about z, half a turn about x, the same with the other sign of the quaternion
    errors = rewards.rotation_error(object_quat, goal_quat)
    assert errors.tolist() == pytest.approx([0.0, math.pi / 2, math.pi, 0.0], abs=1e-6)


def test_rotation_error_agrees_with_scipy_and_the_official_formula():
    a, b = Rotation.random(500, random_state=0), Rotation.random(500, random_state=1)
    object_quat = torch.tensor(a.as_quat(), dtype=torch.float32)
    goal_quat = torch.tensor(b.as_quat(), dtype=torch.float32)
    errors = rewards.rotation_error(object_quat, goal_quat)
    torch.testing.assert_close(errors.double(), torch.tensor((a * b.inv()).magnitude()), atol=2e-6, rtol=0)
    relative = rewards.relative_rotation(object_quat, goal_quat)
    official = 2.0 * torch.asin(relative[:, :3].norm(dim=-1).clamp(max=1.0))
    # asin of a float32 near 1 is good to about the square root of its resolution
    torch.testing.assert_close(errors, official, atol=2e-3, rtol=0)


def test_rotation_error_resolves_small_turns():
    # 0.1 rad is the tolerance of a success; half of it must not be lost to rounding
    angles = torch.tensor([1e-4, 0.05, 0.0999, 0.1001])
    turned = torch.zeros(4, 4)
    turned[:, 1], turned[:, 3] = (angles / 2).sin(), (angles / 2).cos()
    goal = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(4, 4)
    torch.testing.assert_close(rewards.rotation_error(turned, goal), angles, atol=1e-6, rtol=1e-5)


def test_relative_rotation_agrees_with_scipy():
    a, b = Rotation.random(200, random_state=2), Rotation.random(200, random_state=3)
    ours = rewards.relative_rotation(torch.tensor(a.as_quat()), torch.tensor(b.as_quat()))
    expected = torch.tensor((a * b.inv()).as_quat())
    sign = (ours * expected).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(ours, sign * expected, atol=1e-12, rtol=0)


def test_weights_may_differ_between_environments():
    weights, flags, ones = torch.tensor([2.0, 3.0]), torch.tensor([True, True]), torch.ones(2)
    assert rewards.position_term(ones, scale=weights).tolist() == [2.0, 3.0]
    assert rewards.rotation_term(ones, scale=weights, eps=1.0).tolist() == [1.0, 1.5]
    assert rewards.action_term(torch.ones(2, 5), scale=weights).tolist() == [10.0, 15.0]
    assert rewards.success_term(flags, bonus=weights).tolist() == [2.0, 3.0]
    assert rewards.fall_term(flags, penalty=weights).tolist() == [2.0, 3.0]
