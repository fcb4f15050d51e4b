"""Reward of the AllegroKuka tasks, one pure function per term, and the counters behind them.

Source: official code, ``compute_kuka_reward`` and its helpers. Distances are in m. "Closest" is the smallest distance
so far, so that a distance pays only where it is improved; "lifted" is a latch that an object, once high enough, sets.

A weight (``scale``, ``bonus``) is a number for all environments or a tensor of shape (N,), one for each.
"""

from __future__ import annotations

import torch


def improvement(closest: torch.Tensor, distance: torch.Tensor, limit: float) -> torch.Tensor:
    """By how much a distance improves on the smallest one so far.

    Args:
        closest: Smallest distance before this step [m], any shape.
        distance: Distance now [m], same shape.
        limit: Largest improvement that counts [m].

    Returns:
        ``clip(closest - distance, 0, limit)`` [m], same shape.
    """
    return (closest - distance).clamp(0.0, limit)


def lift_height(object_z: torch.Tensor, *, start_z: float, offset: float) -> torch.Tensor:
    """Height of the object above its start, counted from a little below.

    Args:
        object_z: Height of the object's centre in the environment frame [m], shape (N,).
        start_z: Its nominal start [m]; 0.63 in the official code.
        offset: Added height [m]; 0.05 in the official code.

    Returns:
        ``offset + object_z - start_z`` [m], shape (N,).
    """
    return offset + object_z - start_z


def count_near(count: torch.Tensor, near: torch.Tensor, *, consecutive: bool) -> torch.Tensor:
    """Count the steps near the goal.

    Args:
        count: Steps counted before this one, shape (N,).
        near: Whether the object is near the goal now, bool, shape (N,).
        consecutive: Whether leaving the goal starts the count anew; the official code goes on counting.

    Returns:
        Steps counted, shape (N,).
    """
    counted = count + near
    return counted * near if consecutive else counted


def fingertip_term(
    tip_improvement: torch.Tensor, lifted: torch.Tensor, *, scale: float | torch.Tensor, after_lift: bool = False
) -> torch.Tensor:
    """Reward for fingertips that come closer to the object than ever.

    Args:
        tip_improvement: Improvement of each fingertip's distance [m], shape (N, F).
        lifted: Whether the object is lifted, this step included, bool, shape (N,).
        scale: Reward per metre; 50 in the official code.
        after_lift: Whether it is paid for lifted objects too, as the official code does with two arms.

    Returns:
        ``scale * sum(tip_improvement)``, shape (N,); unless ``after_lift`` 0 where lifted.
    """
    paid = scale * tip_improvement.sum(-1)
    return paid if after_lift else paid * ~lifted


def lifting_term(
    height: torch.Tensor, lifted: torch.Tensor, *, scale: float | torch.Tensor, limit: float
) -> torch.Tensor:
    """Reward for the object's height, until it is lifted.

    Args:
        height: :func:`lift_height` [m], shape (N,).
        lifted: Whether the object is lifted, this step included, bool, shape (N,).
        scale: Reward per metre; 20 in the official code.
        limit: Largest height that counts [m]; 0.5 in the official code.

    Returns:
        ``scale * clip(height, 0, limit)`` where not lifted, else 0, shape (N,).
    """
    return scale * height.clamp(0.0, limit) * ~lifted


def lift_bonus_term(just_lifted: torch.Tensor, *, bonus: float | torch.Tensor) -> torch.Tensor:
    """Bonus of the step in which the object becomes lifted.

    Args:
        just_lifted: Whether this is that step, bool, shape (N,).
        bonus: Bonus; 300 in the official code.

    Returns:
        ``bonus`` where just lifted, else 0, shape (N,).
    """
    return bonus * just_lifted


def keypoint_term(
    keypoint_improvement: torch.Tensor, lifted: torch.Tensor, *, scale: float | torch.Tensor
) -> torch.Tensor:
    """Reward for keypoints that come closer to the goal than ever, once the object is lifted.

    Args:
        keypoint_improvement: Improvement of the largest keypoint distance [m], shape (N,).
        lifted: Whether the object is lifted, this step included, bool, shape (N,).
        scale: Reward per metre; 200 in the official code.

    Returns:
        ``scale * keypoint_improvement`` where lifted, else 0, shape (N,).
    """
    return scale * keypoint_improvement * lifted


def goal_bonus_term(near: torch.Tensor, *, bonus: float | torch.Tensor, hold_steps: int) -> torch.Tensor:
    """Share of the goal's bonus for every step near it.

    Args:
        near: Whether the object is near the goal, bool, shape (N,).
        bonus: Bonus of a goal; 1000 in the official code.
        hold_steps: Steps near the goal that make a success.

    Returns:
        ``bonus / hold_steps`` where near, else 0, shape (N,).
    """
    return bonus / hold_steps * near


def velocity_term(joint_vel: torch.Tensor, *, scale: float | torch.Tensor) -> torch.Tensor:
    """Cost of joint speed; the official code calls it an action penalty.

    Args:
        joint_vel: Joint velocities [rad/s], shape (N, J).
        scale: Reward per rad/s, not above 0; -0.003 for the arm and -0.0003 for the hand in the official code.

    Returns:
        ``scale * sum(|joint_vel|)``, shape (N,).
    """
    return scale * joint_vel.abs().sum(-1)
