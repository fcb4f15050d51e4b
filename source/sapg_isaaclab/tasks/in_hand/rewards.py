"""Reward of the in-hand reorientation tasks, one pure function per term.

Source: official code, ``compute_hand_reward`` of the Allegro and Shadow hand tasks. Rotation errors are in rad,
positions in m, quaternions xyzw.

A weight (``scale``, ``bonus``, ``penalty``) is a number for all environments or a tensor of shape (N,), one for each.
"""

from __future__ import annotations

import torch


def rotation_error(object_quat: torch.Tensor, goal_quat: torch.Tensor) -> torch.Tensor:
    """Angle of the rotation that takes the goal orientation to the object's.

    The official ``2 asin(min(1, |vec(q_object q_goal^-1)|))``, written with atan2: equal in exact arithmetic, and
    accurate near half a turn, where the derivative of asin has no bound.

    Args:
        object_quat: Object orientation, shape (N, 4), xyzw.
        goal_quat: Goal orientation, shape (N, 4), xyzw.

    Returns:
        Angle [rad] in [0, pi], shape (N,).
    """
    dot = (object_quat * goal_quat).sum(-1).abs()
    vec = relative_rotation(object_quat, goal_quat)[:, :3]
    return 2.0 * torch.atan2(torch.linalg.vector_norm(vec, dim=-1), dot)


def relative_rotation(object_quat: torch.Tensor, goal_quat: torch.Tensor) -> torch.Tensor:
    """Rotation from the goal to the object, ``q_object q_goal^-1``.

    Args:
        object_quat: Object orientation, shape (N, 4), xyzw.
        goal_quat: Goal orientation, shape (N, 4), xyzw.

    Returns:
        Unit quaternion, shape (N, 4), xyzw.
    """
    a, aw = object_quat[:, :3], object_quat[:, 3:]
    b, bw = goal_quat[:, :3], goal_quat[:, 3:]
    vec = bw * a - aw * b - torch.linalg.cross(a, b)
    return torch.cat((vec, aw * bw + (a * b).sum(-1, keepdim=True)), dim=-1)


def position_term(position_error: torch.Tensor, *, scale: float | torch.Tensor) -> torch.Tensor:
    """Cost of the distance between object and goal position.

    Args:
        position_error: Distance [m], shape (N,).
        scale: Reward per metre; -10 in the official code.

    Returns:
        ``scale * position_error``, shape (N,).
    """
    return scale * position_error


def rotation_term(rotation_error: torch.Tensor, *, scale: float | torch.Tensor, eps: float) -> torch.Tensor:
    """Reward that grows as the rotation error shrinks.

    Args:
        rotation_error: Angle [rad], shape (N,).
        scale: Factor; 1 in the official code.
        eps: Offset [rad] that bounds the reward at ``scale / eps``; 0.1 in the official code.

    Returns:
        ``scale / (|rotation_error| + eps)``, shape (N,).
    """
    return scale / (rotation_error.abs() + eps)


def action_term(actions: torch.Tensor, *, scale: float | torch.Tensor) -> torch.Tensor:
    """Cost of large actions.

    Args:
        actions: Clamped actions, shape (N, A).
        scale: Reward per squared action; -0.0002 in the official code.

    Returns:
        ``scale * sum(actions^2)``, shape (N,).
    """
    return scale * actions.square().sum(-1)


def success_term(reached: torch.Tensor, *, bonus: float | torch.Tensor) -> torch.Tensor:
    """Bonus of a reached goal.

    Args:
        reached: Whether the goal was reached in this step, bool, shape (N,).
        bonus: Bonus; 250 in the official code.

    Returns:
        ``bonus`` where reached, else 0, shape (N,).
    """
    return bonus * reached


def fall_term(fallen: torch.Tensor, *, penalty: float | torch.Tensor) -> torch.Tensor:
    """Penalty of a dropped object.

    Args:
        fallen: Whether the object is too far from the goal position, bool, shape (N,).
        penalty: Reward of a fall, not above 0; 0 in the official code.

    Returns:
        ``penalty`` where fallen, else 0, shape (N,).
    """
    return penalty * fallen
