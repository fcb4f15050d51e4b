"""Mechanical stops of joints, for where an engine's solver ends a step with a joint beyond its limits."""

from __future__ import annotations

import torch


def overshoot(joint_pos: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """How far joints are beyond their limits.

    Args:
        joint_pos: Joint positions [rad], shape (N, J).
        lower: Lower limits [rad], shape (J,).
        upper: Upper limits [rad], shape (J,).

    Returns:
        Distance from the nearer limit [rad], shape (N, J); negative inside.
    """
    return torch.maximum(lower - joint_pos, joint_pos - upper)


def put_on_stops(
    joint_pos: torch.Tensor, joint_vel: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What joints do at hard stops: they stand at the limit and no longer move outwards.

    Args:
        joint_pos: Joint positions [rad], shape (N, J).
        joint_vel: Joint velocities [rad/s], shape (N, J).
        lower: Lower limits [rad], shape (J,).
        upper: Upper limits [rad], shape (J,).

    Returns:
        Positions within the limits, and velocities whose outward part is 0 where a joint was beyond a limit.
    """
    below, above = joint_pos < lower, joint_pos > upper
    joint_vel = torch.where(below, joint_vel.clamp(min=0.0), joint_vel)
    joint_vel = torch.where(above, joint_vel.clamp(max=0.0), joint_vel)
    return joint_pos.clamp(lower, upper), joint_vel
