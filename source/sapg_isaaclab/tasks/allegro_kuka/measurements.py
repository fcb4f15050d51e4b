"""Where palm, fingertips and keypoints are, and how far from one another."""

from __future__ import annotations

from typing import Any

import torch

from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoints, rotate

PALM_BODY = "iiwa7_link_7"
PALM_OFFSET = (0.0, -0.02, 0.16)
"""Palm centre in the frame of the palm body [m]."""

TIP_BODIES = ("index_link_3", "middle_link_3", "ring_link_3", "thumb_link_3")
TIP_OFFSETS = ((0.05, 0.005, 0.0), (0.05, 0.005, 0.0), (0.05, 0.005, 0.0), (0.06, 0.005, 0.0))
"""Fingertip points in the frames of the last links [m]."""


class Measurements:
    """What rewards and observations are made of; only what has changed is measured again.

    Positions are in the environment frame [m], quaternions xyzw; N environments, k keypoints.
    """

    palm_pos: torch.Tensor
    """Centre of the palm, shape (N, 3)."""

    palm_quat: torch.Tensor
    """Orientation of the palm's body, shape (N, 4)."""

    tips: torch.Tensor
    """Fingertip points: index, middle, ring, thumb, shape (N, 4, 3)."""

    keypoints: torch.Tensor
    """Keypoints of the object, shape (N, k, 3)."""

    keypoints_from_goal: torch.Tensor
    """Keypoints of the object minus those of the goal, shape (N, k, 3)."""

    tip_distance: torch.Tensor
    """Distances of the fingertips from the object, shape (N, 4)."""

    keypoint_distance: torch.Tensor
    """Largest distance of a keypoint from the goal's, shape (N,)."""

    def __init__(self, robot: Any, env_origins: torch.Tensor, offsets: torch.Tensor):
        """Find the bodies; nothing is measured yet.

        Args:
            robot: The arm with the hand, an articulation of the scene.
            env_origins: Origins of the environments in the world [m], shape (N, 3).
            offsets: Keypoints in the frames of the objects [m], shape (N, k, 3).
        """
        self._robot, self._origins = robot, env_origins
        self.offsets = offsets
        """Keypoints in the frames of the objects [m], shape (N, k, 3)."""
        bodies, _ = robot.find_bodies([PALM_BODY, *TIP_BODIES], preserve_order=True)
        self._palm_id, self._body_ids = bodies[0], torch.tensor(bodies, device=env_origins.device)
        self._points = torch.tensor((PALM_OFFSET, *TIP_OFFSETS), device=env_origins.device)
        self.moved = True
        """Whether robots or objects moved since the last measurement."""
        self.aimed = True
        """Whether goals did."""

    def take(
        self, object_pos: torch.Tensor, object_quat: torch.Tensor, goal_pos: torch.Tensor, goal_quat: torch.Tensor
    ) -> None:
        """Measure, where something moved.

        Args:
            object_pos: Positions of the objects, shape (N, 3).
            object_quat: Orientations of the objects, shape (N, 4).
            goal_pos: Positions of the goals, shape (N, 3).
            goal_quat: Orientations of the goals, shape (N, 4).
        """
        if self.moved:
            self._take_bodies(object_pos, object_quat)
        if self.moved or self.aimed:
            self.keypoints_from_goal = self.keypoints - keypoints(goal_pos, goal_quat, self.offsets)
            self.keypoint_distance = torch.linalg.vector_norm(self.keypoints_from_goal, dim=-1).amax(-1)
        self.moved = self.aimed = False

    def _take_bodies(self, object_pos: torch.Tensor, object_quat: torch.Tensor) -> None:
        bodies = self._robot.data.body_link_pose_w.torch.index_select(1, self._body_ids)
        points = bodies[..., :3] - self._origins.unsqueeze(1) + rotate(bodies[..., 3:], self._points)
        self.palm_pos, self.tips, self.palm_quat = points[:, 0], points[:, 1:], bodies[:, 0, 3:]
        self.keypoints = keypoints(object_pos, object_quat, self.offsets)
        self.tip_distance = torch.linalg.vector_norm(self.tips - object_pos.unsqueeze(1), dim=-1)

    @property
    def palm_vel(self) -> torch.Tensor:
        """Linear [m/s] and angular [rad/s] velocity of the palm body's centre of mass, in the world, shape (N, 6)."""
        return self._robot.data.body_com_vel_w.torch[:, self._palm_id]
