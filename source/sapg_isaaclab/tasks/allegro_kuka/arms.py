"""The arms with their hands of an environment, whose joints are the columns of one tensor, arm after arm.

N environments, A arms of J joints each. All arms are of the same kind, each an articulation of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import warp as wp


@dataclasses.dataclass(frozen=True)
class Arm:
    """One of them."""

    robot: Any
    """The articulation."""

    joint_ids: torch.Tensor
    """Its joints in the order of the task, int64, shape (J,)."""

    drive_targets: torch.Tensor
    """What the engine takes over as targets of its drives, in the engine's order [rad], shape (N, J)."""


class Arms:
    """Reads, puts and drives all arms at once."""

    def __init__(self, robots: Sequence[Any], joint_names: Sequence[str], device: str):
        """Find the joints.

        Args:
            robots: The articulations, in the order of actions and observations.
            joint_names: Joints of each in the order of the task, J of them.
            device: Device of the tensors.
        """
        self._arms = []
        for robot in robots:
            joints, _ = robot.find_joints(joint_names, preserve_order=True)
            ids = torch.tensor(joints, device=device)
            self._arms.append(Arm(robot, ids, robot.actuators.target_command.position.torch))
        self.num_joints = len(joint_names)
        """Joints of each arm, J."""
        limits = torch.cat([arm.robot.data.joint_limits.torch[0, arm.joint_ids] for arm in self])
        self.lower, self.upper = limits.unbind(-1)
        """Limits of all joints [rad], shape (A J,) each."""

    def __len__(self) -> int:
        """Number of arms A."""
        return len(self._arms)

    def __iter__(self) -> Iterator[Arm]:
        """Arm after arm."""
        return iter(self._arms)

    def __getitem__(self, index: int) -> Arm:
        """One arm."""
        return self._arms[index]

    # index_select: indexing with [:, ids] would start all threads of torch, which here costs more than it does

    @property
    def joint_pos(self) -> torch.Tensor:
        """Joint positions [rad], shape (N, A J), read live."""
        return torch.cat([arm.robot.data.joint_pos.torch.index_select(1, arm.joint_ids) for arm in self], dim=-1)

    @property
    def joint_vel(self) -> torch.Tensor:
        """Joint velocities [rad/s], shape (N, A J), read live."""
        return torch.cat([arm.robot.data.joint_vel.torch.index_select(1, arm.joint_ids) for arm in self], dim=-1)

    def drive(self, targets: torch.Tensor) -> None:
        """Hand the drives their targets for the coming control step.

        Args:
            targets: Targets [rad], shape (N, A J).
        """
        for arm, own in zip(self, self._of_each(targets)):
            # in place: the engine takes these over in the next physics step, set_position_index would also do so here
            arm.drive_targets.index_copy_(1, arm.joint_ids, own)

    def put(self, joint_pos: torch.Tensor, joint_vel: torch.Tensor, env_ids: Sequence[int] | torch.Tensor) -> None:
        """Put all arms of some environments somewhere.

        Args:
            joint_pos: Positions [rad], shape (n, A J).
            joint_vel: Velocities [rad/s], shape (n, A J).
            env_ids: The n environments.
        """
        for arm, pos, vel in zip(self, self._of_each(joint_pos), self._of_each(joint_vel)):
            arm.robot.write_joint_state_to_sim_index(
                position=pos, velocity=vel, joint_ids=arm.joint_ids, env_ids=env_ids
            )

    def put_where(self, mask: torch.Tensor, joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """Put the arms of a mask somewhere, without the host having to know which ones they are.

        Args:
            mask: The arms, bool, shape (N, A).
            joint_pos: Positions [rad], shape (N, A J).
            joint_vel: Velocities [rad/s], shape (N, A J).
        """
        for arm, chosen, *values in zip(self, mask.unbind(1), self._of_each(joint_pos), self._of_each(joint_vel)):
            data = arm.robot.data
            pos, vel = (
                everything.torch.index_copy(1, arm.joint_ids, own)
                for everything, own in zip((data.joint_pos, data.joint_vel), values)
            )
            env_mask = wp.from_torch(chosen.contiguous(), dtype=wp.bool)
            arm.robot.write_joint_state_to_sim_mask(position=pos, velocity=vel, env_mask=env_mask)

    def _of_each(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Columns of every arm, shape (..., J) each; the engine reads them as they lie in memory."""
        return [own.contiguous() for own in values.split(self.num_joints, dim=-1)]
