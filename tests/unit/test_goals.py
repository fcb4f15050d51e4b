"""Goals and keypoints of the AllegroKuka tasks."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from sapg_isaaclab.tasks.allegro_kuka.goals import CORNERS, Regrasp, Reorient, Throw, uniform_rotation
from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoint_offsets, keypoints, rotate

LOW, HIGH = (-0.4, 0.0, 0.68), (0.4, 0.35, 1.05)
COUNT = 20000


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def assert_uniform(values, low, high):
    """Within the range, mean in the middle, deviation range / sqrt(12)."""
    span = high - low
    assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.015 * span)
    assert values.std().item() == pytest.approx(span / math.sqrt(12), rel=0.03)


def test_rotations_are_xyzw():
    half = math.sqrt(0.5)
    # a quarter turn about z takes x to y
    turned = rotate(torch.tensor([0.0, 0.0, half, half]), torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]))
    quat, vectors = torch.randn(50, 4).double(), torch.randn(50, 3).double()
    quat = quat / quat.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(rotate(quat, vectors), torch.tensor(Rotation.from_quat(quat.numpy()).apply(vectors)))


def test_keypoints_lie_outside_the_corners():
    offsets = keypoint_offsets(CORNERS, torch.tensor([[0.04, 0.08, 0.2]]), 1.5)
    # 0.75 of the edges
    torch.testing.assert_close(offsets[0, 0], torch.tensor([0.03, 0.06, 0.15]))
    torch.testing.assert_close(offsets[0, 2], torch.tensor([-0.03, -0.06, 0.15]))
    half = math.sqrt(0.5)
    points = keypoints(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, half, half]]), offsets)
    torch.testing.assert_close(points[0, 0], torch.tensor([1.0 - 0.06, 0.03, 0.15]))


def test_keypoint_distance_sees_every_half_turn():
    offsets = keypoint_offsets(CORNERS, torch.full((1, 3), 0.05), 1.5)
    here = keypoints(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), offsets)
    for quat in ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0)):
        there = keypoints(torch.zeros(1, 3), torch.tensor([quat]), offsets)
        # two edges of 1.5 * 0.05 m apart: 0.075 * sqrt(2)
        assert (here - there).norm(dim=-1).amax().item() == pytest.approx(0.106066, rel=1e-4)


def test_regrasp_goals_fill_their_box():
    pos, quat = Regrasp(LOW, HIGH, both_sides=False).sample(COUNT, "cpu")
    for axis in range(3):
        assert_uniform(pos[:, axis], LOW[axis], HIGH[axis])
    assert (quat == torch.tensor([0.0, 0.0, 0.0, 1.0])).all()


@pytest.mark.parametrize("goal", [Regrasp, Reorient])
def test_goals_on_both_sides_fill_a_box_and_its_mirror_image(goal):
    low, high = (0.55, -0.5, 0.68), (0.95, 0.5, 1.05)
    rest = {"max_tip_distance": math.inf} if goal is Reorient else {}
    pos, _ = goal(low, high, both_sides=True, **rest).sample(COUNT, "cpu")
    for axis, values in enumerate((pos[:, 0].abs(), pos[:, 1], pos[:, 2])):
        assert_uniform(values, low[axis], high[axis])
    right = pos[:, 0] > 0
    assert right.float().mean().item() == pytest.approx(0.5, abs=0.015)
    # neither the distance nor the rest says which side it is
    for side in (right, ~right):
        assert_uniform(pos[side, 0].abs(), low[0], high[0])
        assert_uniform(pos[side, 1], low[1], high[1])


def test_throw_goals_are_in_a_bucket_beside_the_table():
    goal = Throw((0.5, 0.9), (-1.0, 0.7), (0.0, 1.0), 0.05)
    pos, _ = goal.sample(COUNT, "cpu")
    assert_uniform(pos[:, 0].abs(), 0.5, 0.9)
    assert (pos[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert_uniform(pos[:, 1], -1.0, 0.7)
    assert_uniform(pos[:, 2], 0.05, 1.05)
    torch.testing.assert_close(goal.bucket_pos(pos) + torch.tensor([0.0, 0.0, 0.05]), pos)


def test_reorient_goals_have_any_orientation():
    pos, quat = Reorient(LOW, HIGH, both_sides=False, max_tip_distance=1.5).sample(COUNT, "cpu")
    assert_uniform(pos[:, 2], 0.68, 1.05)
    torch.testing.assert_close(quat.norm(dim=-1), torch.ones(COUNT))
    # uniform over SO(3): the image of a fixed direction is uniform on the sphere, so its z is uniform in [-1, 1]
    assert_uniform(rotate(uniform_rotation(COUNT, "cpu"), torch.tensor([0.6, 0.0, 0.8]))[:, 2], -1.0, 1.0)
    # and the angle has mean pi / 2 + 2 / pi
    angle = 2.0 * torch.acos(quat[:, 3].abs().clamp(max=1.0))
    assert angle.mean().item() == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)


def test_only_reorient_gives_up_on_a_lost_hand():
    distance = torch.tensor([[0.1, 0.2, 1.4, 0.1], [0.1, 0.2, 1.6, 0.1]])
    assert Reorient(LOW, HIGH, False, 1.5).hand_lost(distance).tolist() == [False, True]
    assert Reorient(LOW, HIGH, False, math.inf).hand_lost(distance).tolist() == [False, False]
    assert Regrasp(LOW, HIGH, False).hand_lost(distance).tolist() == [False, False]
    assert [goal.replaces_object for goal in (Regrasp, Throw, Reorient)] == [True, True, False]
