"""Mechanical stops of joints, for where an engine's solver ends a step with a joint beyond its limits."""

from __future__ import annotations

import torch

from sapg_isaaclab.tasks.allegro_kuka.arms import Arms


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


class JointStops:
    """Puts joints that the engine left beyond their limits back onto them; few of a million need it."""

    def __init__(self, arms: Arms, tolerance: float):
        """Look after all joints of some arms.

        Args:
            arms: The arms.
            tolerance: How far beyond its limits a joint may be [rad]; ``inf`` leaves all to the engine.
        """
        self._arms, self.tolerance = arms, tolerance
        self.host_knows = arms.lower.device.type == "cpu"
        """Whether asking for a value of a tensor costs nothing."""

    def hold(self, joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """Put them back.

        On a CPU nothing is written when no joint needs it; elsewhere a mask says which arms do, so that the host need
        not wait for an answer.

        Args:
            joint_pos: Positions of the joints, arm after arm [rad], shape (N, A J).
            joint_vel: Velocities of the joints, arm after arm [rad/s], shape (N, A J).
        """
        arms = self._arms
        excess = overshoot(joint_pos, arms.lower, arms.upper)
        beyond = (excess > self.tolerance).unflatten(-1, (len(arms), arms.num_joints)).any(-1)
        if self.host_knows and not beyond.any():
            return
        arms.put_where(beyond, *put_on_stops(joint_pos, joint_vel, arms.lower, arms.upper))
