"""Reward terms of the AllegroKuka tasks against numbers worked by hand."""

import pytest
import torch

from sapg_isaaclab.tasks.allegro_kuka import rewards

FLAGS = torch.tensor([False, True])


def test_improvement_pays_only_what_is_closer_than_ever():
    closest, distance = torch.tensor([0.30, 0.30, 20.0]), torch.tensor([0.25, 0.40, 1.0])
    assert rewards.improvement(closest, distance, 10.0).tolist() == pytest.approx([0.05, 0.0, 10.0])


def test_lift_height():
    # 0.05 + 0.73 - 0.63 = 0.15: the threshold is at 0.73 m
    height = rewards.lift_height(torch.tensor([0.73, 0.555]), start_z=0.63, offset=0.05)
    assert height.tolist() == pytest.approx([0.15, -0.025])


def test_fingertip_term():
    # 50 * (0.01 + 0.02 + 0 + 0.03) = 3, nothing once lifted
    improvement = torch.tensor([[0.01, 0.02, 0.0, 0.03]] * 2)
    assert rewards.fingertip_term(improvement, FLAGS, scale=50.0).tolist() == pytest.approx([3.0, 0.0])


def test_lifting_term():
    # 20 * 0.1 = 2; below the start 0; 20 * 0.5 = 10 at most; nothing once lifted
    height, lifted = torch.tensor([0.1, -0.02, 0.9, 0.1]), torch.tensor([False, False, False, True])
    values = rewards.lifting_term(height, lifted, scale=20.0, limit=0.5)
    assert values.tolist() == pytest.approx([2.0, 0.0, 10.0, 0.0])


def test_lift_bonus_term():
    assert rewards.lift_bonus_term(FLAGS, bonus=300.0).tolist() == [0.0, 300.0]


def test_keypoint_term():
    # 200 * 0.04 = 8, only once lifted
    assert rewards.keypoint_term(torch.tensor([0.04, 0.04]), FLAGS, scale=200.0).tolist() == pytest.approx([0.0, 8.0])


@pytest.mark.parametrize(("hold_steps", "share"), [(30, 1000 / 30), (5, 200.0), (1, 1000.0)])
def test_goal_bonus_term(hold_steps, share):
    values = rewards.goal_bonus_term(FLAGS, bonus=1000.0, hold_steps=hold_steps)
    assert values.tolist() == pytest.approx([0.0, share])


def test_velocity_term():
    # 0.003 * (1 + 2) = 0.009
    assert rewards.velocity_term(torch.tensor([[1.0, -2.0]]), scale=-0.003).tolist() == pytest.approx([-0.009])


def test_counting_near_steps():
    near = [True, True, False, True]
    cumulative, consecutive = torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    seen = []
    for flag in near:
        flag = torch.tensor([flag])
        cumulative = rewards.count_near(cumulative, flag, consecutive=False)
        consecutive = rewards.count_near(consecutive, flag, consecutive=True)
        seen.append((cumulative.item(), consecutive.item()))
    assert seen == [(1, 1), (2, 2), (2, 0), (3, 1)]
    assert cumulative.dtype == torch.long


def test_weights_may_differ_between_environments():
    weights, lifted, ones = torch.tensor([2.0, 3.0]), torch.tensor([False, False]), torch.ones(2)
    assert rewards.fingertip_term(torch.ones(2, 4), lifted, scale=weights).tolist() == [8.0, 12.0]
    assert rewards.lifting_term(ones, lifted, scale=weights, limit=0.5).tolist() == [1.0, 1.5]
    assert rewards.lift_bonus_term(~lifted, bonus=weights).tolist() == [2.0, 3.0]
    assert rewards.keypoint_term(ones, ~lifted, scale=weights).tolist() == [2.0, 3.0]
    assert rewards.goal_bonus_term(~lifted, bonus=weights, hold_steps=2).tolist() == [1.0, 1.5]
    assert rewards.velocity_term(torch.ones(2, 5), scale=weights).tolist() == [10.0, 15.0]
