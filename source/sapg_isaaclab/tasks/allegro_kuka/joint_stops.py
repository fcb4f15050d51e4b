"""Mechanical stops of joints, for where an engine's solver ends a step with a joint beyond its limits."""

from __future__ import annotations

from typing import Any

import torch
import warp as wp


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

    def __init__(self, robot: Any, joint_ids: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, tolerance: float):
        """Look after some joints.

        Args:
            robot: The articulation.
            joint_ids: The joints, int64, shape (J,).
            lower: Their lower limits [rad], shape (J,).
            upper: Their upper limits [rad], shape (J,).
            tolerance: How far beyond its limits a joint may be [rad]; ``inf`` leaves all to the engine.
        """
        self._robot, self._joint_ids, self._lower, self._upper = robot, joint_ids, lower, upper
        self.tolerance = tolerance
        self.host_knows = joint_ids.device.type == "cpu"
        """Whether asking for a value of a tensor costs nothing."""

    def hold(self, joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """Put them back.

        On a CPU nothing is written when no joint needs it; elsewhere a mask says which environments do, so that the
        host need not wait for an answer.

        Args:
            joint_pos: Positions of the joints [rad], shape (N, J).
            joint_vel: Velocities of the joints [rad/s], shape (N, J).
        """
        beyond = (overshoot(joint_pos, self._lower, self._upper) > self.tolerance).any(-1)
        if self.host_knows and not beyond.any():
            return
        stops = put_on_stops(joint_pos, joint_vel, self._lower, self._upper)
        data = self._robot.data
        pos, vel = (
            everything.torch.index_copy(1, self._joint_ids, values)
            for everything, values in zip((data.joint_pos, data.joint_vel), stops)
        )
        self._robot.write_joint_state_to_sim_mask(
            position=pos, velocity=vel, env_mask=wp.from_torch(beyond, dtype=wp.bool)
        )
