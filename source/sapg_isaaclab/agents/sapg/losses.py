"""Losses of one minibatch. Pure functions; each returns one number per row, to be averaged by the caller."""

from __future__ import annotations

import torch


def surrogate(
    log_prob: torch.Tensor,
    behaviour_log_prob: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip: float,
    log_mu: torch.Tensor | None = None,
) -> torch.Tensor:
    """Clipped surrogate to MINIMISE, Eq. 2 (on-policy) and Eq. 3 (off-policy) of the paper.

    With r = pi / pi_behaviour the loss is -min(r A, clip(r, mu (1 - clip), mu (1 + clip)) A), where
    mu = pi_old / pi_behaviour. Since mu > 0 this equals mu times the PPO loss of rho = pi / pi_old, and is computed
    so: mu only weights a row. Without ``log_mu``, mu is 1 and off-policy rows are clipped around 1 like any other,
    which is what the official code does.

    Args:
        log_prob: Log-probability of the action under the policy being updated. Shape (rows,).
        behaviour_log_prob: Log-probability under the policy that acted. Shape (rows,).
        advantages: Advantages under the policy being updated. Shape (rows,).
        clip: Half-width epsilon of the trust region.
        log_mu: Logarithm of the weight mu, 0 in on-policy rows. Shape (rows,).

    Returns:
        Loss of every row. Shape (rows,).
    """
    log_ratio = log_prob - behaviour_log_prob
    if log_mu is not None:
        log_ratio = log_ratio - log_mu
    # e^20 is far outside any trust region; the clamp only keeps 0 * inf out of the gradient
    ratio = torch.exp(log_ratio.clamp(-20.0, 20.0))
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1.0 - clip, 1.0 + clip))
    return loss if log_mu is None else loss * torch.exp(log_mu)


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, targets: torch.Tensor, *, clip: float | None
) -> torch.Tensor:
    """Squared error of the critic, Eq. 7 and 8, or its pessimistic clipped form of the official code.

    Args:
        values: Values predicted now, normalised. Shape (rows,).
        old_values: Values predicted before the update, normalised. Shape (rows,).
        targets: Targets, normalised. Shape (rows,).
        clip: Half-width of the trust region around ``old_values``; None leaves the plain squared error.

    Returns:
        Loss of every row. Shape (rows,).
    """
    error = (values - targets).square()
    if clip is None:
        return error
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum(error, (clipped - targets).square())


def entropy_loss(entropy: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Entropy bonus as a loss, section 4.5: minus the coefficient of the row's policy times its entropy.

    Args:
        entropy: Entropy of the row's policy [nat]. Shape (rows,).
        coefficients: Entropy coefficient of the row's policy; 0 for the leader. Shape (rows,).

    Returns:
        Loss of every row. Shape (rows,).
    """
    return -coefficients * entropy


def bounds_loss(mean: torch.Tensor, *, bound: float = 1.1) -> torch.Tensor:
    """Penalty on mean actions that leave the action range (official code).

    Args:
        mean: Mean actions; environments accept [-1, 1]. Shape (rows, A).
        bound: Magnitude from which the penalty grows quadratically.

    Returns:
        Loss of every row, summed over action dimensions. Shape (rows,).
    """
    return (mean.abs() - bound).clamp(min=0.0).square().sum(dim=-1)
