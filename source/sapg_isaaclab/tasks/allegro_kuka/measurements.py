"""Where palms, fingertips and keypoints are, and how far from one another."""

from __future__ import annotations

import torch

from sapg_isaaclab.tasks.allegro_kuka.arms import Arms
from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoints, rotate

PALM_BODY = "iiwa7_link_7"
PALM_OFFSET = (0.0, -0.02, 0.16)
"""Palm centre in the frame of the palm body [m]."""

TIP_BODIES = ("index_link_3", "middle_link_3", "ring_link_3", "thumb_link_3")
TIP_OFFSETS = ((0.05, 0.005, 0.0), (0.05, 0.005, 0.0), (0.05, 0.005, 0.0), (0.06, 0.005, 0.0))
"""Fingertip points in the frames of the last links [m]."""


class Measurements:
    """What rewards and observations are made of; only what has changed is measured again.

    Positions are in the environment frame [m], quaternions xyzw; N environments, A arms, k keypoints.
    """

    palm_pos: torch.Tensor
    """Centres of the palms, shape (N, A, 3)."""

    palm_quat: torch.Tensor
    """Orientations of the palms' bodies, shape (N, A, 4)."""

    tips: torch.Tensor
    """Fingertip points: index, middle, ring, thumb, arm after arm, shape (N, 4 A, 3)."""

    keypoints: torch.Tensor
    """Keypoints of the object, shape (N, k, 3)."""

    keypoints_from_goal: torch.Tensor
    """Keypoints of the object minus those of the goal, shape (N, k, 3)."""

    tip_distance: torch.Tensor
    """Distances of the fingertips from the object, shape (N, 4 A)."""

    keypoint_distance: torch.Tensor
    """Largest distance of a keypoint from the goal's, shape (N,)."""

    def __init__(self, arms: Arms, env_origins: torch.Tensor, offsets: torch.Tensor):
        """Find the bodies; nothing is measured yet.

        Args:
            arms: The arms with their hands.
            env_origins: Origins of the environments in the world [m], shape (N, 3).
            offsets: Keypoints in the frames of the objects [m], shape (N, k, 3).
        """
        self._origins = env_origins
        self.offsets = offsets
        """Keypoints in the frames of the objects [m], shape (N, k, 3)."""
        self._bodies = []  # of every arm: the articulation, its palm, and palm and fingers
        for arm in arms:
            bodies, _ = arm.robot.find_bodies([PALM_BODY, *TIP_BODIES], preserve_order=True)
            self._bodies.append((arm.robot, bodies[0], torch.tensor(bodies, device=env_origins.device)))
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
        poses = [robot.data.body_link_pose_w.torch.index_select(1, bodies) for robot, _, bodies in self._bodies]
        poses = torch.stack(poses, dim=1)
        points = poses[..., :3] - self._origins.view(-1, 1, 1, 3) + rotate(poses[..., 3:], self._points)
        self.palm_pos, self.tips, self.palm_quat = points[:, :, 0], points[:, :, 1:].flatten(1, 2), poses[:, :, 0, 3:]
        self.keypoints = keypoints(object_pos, object_quat, self.offsets)
        self.tip_distance = torch.linalg.vector_norm(self.tips - object_pos.unsqueeze(1), dim=-1)

    @property
    def palm_vel(self) -> torch.Tensor:
        """Linear [m/s] and angular [rad/s] velocities of the palm bodies' centres of mass, in the world, (N, A, 6)."""
        return torch.stack([robot.data.body_com_vel_w.torch[:, palm] for robot, palm, _ in self._bodies], dim=1)

    @property
    def tips_from_palm(self) -> torch.Tensor:
        """Fingertip points minus the centre of their own palm, shape (N, A, 4, 3)."""
        return self.tips.unflatten(1, (len(self._bodies), len(TIP_BODIES))) - self.palm_pos.unsqueeze(2)

    def from_palms(self, points: torch.Tensor) -> torch.Tensor:
        """Points as every palm has them.

        Args:
            points: Points, shape (N, k, 3).

        Returns:
            Points minus the centre of each palm, shape (N, A, k, 3).
        """
        return points.unsqueeze(1) - self.palm_pos.unsqueeze(2)
