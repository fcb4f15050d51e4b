"""What actions of the AllegroKuka tasks mean."""

from __future__ import annotations

import torch


def joint_targets(
    previous: torch.Tensor,
    actions: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    *,
    num_moved: int,
    step: float,
    smoothing: float,
) -> torch.Tensor:
    """Targets of the drives for the coming control step (official code).

    Those of an arm's first joints are moved from where they are, the targets and not the joints; all others are given
    between the joints' limits.

    Args:
        previous: Targets of the step before [rad], shape (N, A, J).
        actions: Actions in [-1, 1], shape (N, A, J).
        lower: Lower limits [rad], shape (A, J).
        upper: Upper limits [rad], shape (A, J).
        num_moved: How many joints of each arm have targets that are moved.
        step: How far action 1 moves them [rad].
        smoothing: Weight of a given target in the moving average with the previous one; 1 is no smoothing.

    Returns:
        Targets within the limits [rad], shape (N, A, J).
    """
    moved = previous[..., :num_moved] + step * actions[..., :num_moved]
    low, high = lower[..., num_moved:], upper[..., num_moved:]
    given = low + 0.5 * (actions[..., num_moved:] + 1.0) * (high - low)
    given = torch.lerp(previous[..., num_moved:], given, smoothing)
    return torch.cat((moved, given), dim=-1).clamp(lower, upper)
