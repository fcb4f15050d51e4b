"""What the AllegroKuka tasks ask for. Each goal is one small class with the same attributes and methods.

Positions are in the environment frame [m], quaternions xyzw. Source: official code; the boxes are the paper's.
"""

from __future__ import annotations

import functools

import torch

from sapg_isaaclab.tasks.allegro_kuka.env_cfg import RegraspGoalCfg, ReorientGoalCfg, ThrowGoalCfg

CENTER = ((0.0, 0.0, 0.0),)
"""One keypoint in the object's centre: its orientation does not count."""

CORNERS = ((1.0, 1.0, 1.0), (1.0, 1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, -1.0, -1.0))
"""Four keypoints in corners that no turn but the identity leaves in place."""


def uniform(low: tuple[float, ...], high: tuple[float, ...], count: int, device: str) -> torch.Tensor:
    """Points uniform in a box.

    Args:
        low: Lower corner, d numbers.
        high: Upper corner, d numbers.
        count: Number of points.
        device: Device of the result.

    Returns:
        Points, shape (count, d).
    """
    low, span = _box(tuple(low), tuple(high), device)
    return low + span * torch.rand(count, len(low), device=device)


@functools.cache
def _box(low: tuple[float, ...], high: tuple[float, ...], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower corner and edges of a box, made once: an upload makes the host wait for the device."""
    with torch.inference_mode(False):
        low, high = torch.tensor(low, device=device), torch.tensor(high, device=device)
        return low, high - low


def uniform_rotation(count: int, device: str) -> torch.Tensor:
    """Rotations uniform over SO(3), as quaternions of shape (count, 4), xyzw."""
    return torch.nn.functional.normalize(torch.randn(count, 4, device=device), dim=-1)


def no_rotation(count: int, device: str) -> torch.Tensor:
    """Identity quaternions, shape (count, 4), xyzw."""
    quat = torch.zeros(count, 4, device=device)
    quat[:, 3].fill_(1.0)  # an assignment would make a tensor of the number first
    return quat


def to_either_side(pos: torch.Tensor) -> torch.Tensor:
    """Positions on one side of the middle, sent to either side with equal probability.

    Args:
        pos: Positions, shape (count, 3).

    Returns:
        The same, where x of about half of them is mirrored.
    """
    side = torch.where(torch.rand(len(pos), device=pos.device) < 0.5, -1.0, 1.0)
    return torch.cat((pos[:, :1] * side.unsqueeze(-1), pos[:, 1:]), dim=-1)


class Regrasp:
    """Lift the object and hold its centre at a point; then it is put back on the table somewhere else."""

    corners = CENTER
    """Keypoints in half edges of the object."""

    replaces_object = True
    """Whether the object is put back on the table when the goal is reached."""

    def __init__(self, low: tuple[float, float, float], high: tuple[float, float, float], both_sides: bool):
        """Ask for points in a box.

        Args:
            low: Lower corner of the box [m].
            high: Upper corner of the box [m].
            both_sides: Whether half of the goals are in the box mirrored in x.
        """
        self._low, self._high, self._both_sides = low, high, both_sides

    def sample(self, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw goals.

        Args:
            count: Number of goals.
            device: Device of the result.

        Returns:
            Goal positions [m], shape (count, 3), and orientations, shape (count, 4), xyzw.
        """
        pos = uniform(self._low, self._high, count, device)
        return to_either_side(pos) if self._both_sides else pos, no_rotation(count, device)

    def hand_lost(self, tip_distance: torch.Tensor) -> torch.Tensor:
        """Whether the hand has gone too far from the object to go on.

        Args:
            tip_distance: Distances of the fingertips from the object [m], shape (N, F).

        Returns:
            False everywhere, bool, shape (N,).
        """
        return torch.zeros_like(tip_distance[:, 0], dtype=torch.bool)


class Throw:
    """Get the object into a bucket out of reach; then both are put somewhere else."""

    corners = CENTER
    """Keypoints in half edges of the object."""

    replaces_object = True
    """Whether the object is put back on the table when the goal is reached."""

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        z_range: tuple[float, float],
        height: float,
    ):
        """Put the bucket left or right of the table.

        Args:
            x_range: Distance of the bucket from the middle of the table, to either side [m].
            y_range: Range of the bucket along y [m].
            z_range: Range of the height of the bucket's bottom [m].
            height: Height of the goal point above the bucket's bottom [m].
        """
        self._low, self._high = (x_range[0], y_range[0], z_range[0]), (x_range[1], y_range[1], z_range[1])
        self._height = height

    def sample(self, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw goals: points in the bucket.

        Args:
            count: Number of goals.
            device: Device of the result.

        Returns:
            Goal positions [m], shape (count, 3), and orientations, shape (count, 4), xyzw.
        """
        pos = to_either_side(uniform(self._low, self._high, count, device))
        pos[:, 2] += self._height
        return pos, no_rotation(count, device)

    def bucket_pos(self, goal_pos: torch.Tensor) -> torch.Tensor:
        """Where the bucket stands.

        Args:
            goal_pos: Goal positions [m], shape (N, 3).

        Returns:
            Centres of the bucket's bottom [m], shape (N, 3).
        """
        pos = goal_pos.clone()
        pos[:, 2] -= self._height
        return pos

    def hand_lost(self, tip_distance: torch.Tensor) -> torch.Tensor:
        """Whether the hand has gone too far from the object to go on.

        Args:
            tip_distance: Distances of the fingertips from the object [m], shape (N, F).

        Returns:
            False everywhere, bool, shape (N,).
        """
        return torch.zeros_like(tip_distance[:, 0], dtype=torch.bool)


class Reorient:
    """Bring the object to poses in succession without putting it down."""

    corners = CORNERS
    """Keypoints in half edges of the object."""

    replaces_object = False
    """Whether the object is put back on the table when the goal is reached."""

    def __init__(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        both_sides: bool,
        max_tip_distance: float,
    ):
        """Ask for any orientation at points in a box.

        Args:
            low: Lower corner of the box [m].
            high: Upper corner of the box [m].
            both_sides: Whether half of the goals are in the box mirrored in x.
            max_tip_distance: Distance of a fingertip from the object beyond which the episode ends [m].
        """
        self._low, self._high, self._both_sides = low, high, both_sides
        self._max_tip_distance = max_tip_distance

    def sample(self, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw goals.

        Args:
            count: Number of goals.
            device: Device of the result.

        Returns:
            Goal positions [m], shape (count, 3), and orientations uniform over SO(3), shape (count, 4), xyzw.
        """
        pos = uniform(self._low, self._high, count, device)
        return to_either_side(pos) if self._both_sides else pos, uniform_rotation(count, device)

    def hand_lost(self, tip_distance: torch.Tensor) -> torch.Tensor:
        """Whether the hand has gone too far from the object to go on.

        Args:
            tip_distance: Distances of the fingertips from the object [m], shape (N, F).

        Returns:
            Whether any fingertip is beyond the limit, bool, shape (N,).
        """
        return tip_distance.amax(-1) > self._max_tip_distance


Goal = Regrasp | Throw | Reorient
"""A goal of the AllegroKuka tasks."""

GOALS: dict[type, type[Goal]] = {RegraspGoalCfg: Regrasp, ThrowGoalCfg: Throw, ReorientGoalCfg: Reorient}
"""Which goal a configuration asks for."""
