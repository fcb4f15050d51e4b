"""Where goals are drawn. Quaternions are xyzw."""

from __future__ import annotations

import math

import torch


def official(count: int, device: str | torch.device) -> torch.Tensor:
    """``R_x(pi u) R_y(pi v)`` with u, v uniform in [-1, 1] (official code; not uniform over all rotations).

    Args:
        count: Number of orientations n.
        device: Device of the result.

    Returns:
        Unit quaternions, shape (n, 4), xyzw.
    """
    half = (torch.rand(2, count, device=device) - 0.5) * math.pi
    (sx, sy), (cx, cy) = half.sin(), half.cos()
    return torch.stack((sx * cy, cx * sy, sx * sy, cx * cy), dim=-1)


def near(quat: torch.Tensor, low: float, high: torch.Tensor) -> torch.Tensor:
    """Orientations that a turn by a random angle about a random axis leads to.

    Args:
        quat: Present orientations, unit quaternions, shape (n, 4), xyzw.
        low: Smallest angle [rad].
        high: Largest angle [rad], at most pi, 0-dim or shape (n,).

    Returns:
        Unit quaternions, shape (n, 4), xyzw. Angles are uniform between the two, axes uniform over all directions.
    """
    count = len(quat)
    half = 0.5 * (low + (high - low) * torch.rand(count, device=quat.device)).unsqueeze(-1)
    axis = torch.nn.functional.normalize(torch.randn(count, 3, device=quat.device), dim=-1)
    turn, turn_w = half.sin() * axis, half.cos()
    vec, w = quat[:, :3], quat[:, 3:]
    turned = turn_w * vec + w * turn + torch.linalg.cross(turn, vec)
    return torch.cat((turned, turn_w * w - (turn * vec).sum(-1, keepdim=True)), dim=-1)
