"""Joints beyond their limits, by hand."""

import torch

from sapg_isaaclab.tasks.allegro_kuka.joint_stops import overshoot, put_on_stops

LOWER, UPPER = torch.tensor([-1.0, 0.3]), torch.tensor([2.0, 1.5])
POS = torch.tensor([[-1.2, 0.5], [2.5, 0.1], [0.0, 1.75]])


def test_overshoot_is_the_distance_from_the_nearer_limit():
    # 1.2 below -1; 0.5 is 0.2 above 0.3; 2.5 above 2; 0.1 below 0.3; 0 is 1 above -1; 1.75 above 1.5
    expected = torch.tensor([[0.2, -0.2], [0.5, 0.2], [-1.0, 0.25]])
    torch.testing.assert_close(overshoot(POS, LOWER, UPPER), expected)


def test_stops_take_the_outward_speed_and_leave_the_inward_one():
    outward = torch.tensor([[-3.0, 4.0], [3.0, -4.0], [5.0, 6.0]])
    pos, vel = put_on_stops(POS, outward, LOWER, UPPER)
    torch.testing.assert_close(pos, torch.tensor([[-1.0, 0.5], [2.0, 0.3], [0.0, 1.5]]))
    torch.testing.assert_close(vel, torch.tensor([[0.0, 4.0], [0.0, 0.0], [5.0, 0.0]]))
    _, vel = put_on_stops(POS, -outward, LOWER, UPPER)
    torch.testing.assert_close(vel, -outward)
