"""Diagonal Gaussians of actions: log-probability, entropy and divergence. Pure functions of tensors."""

from __future__ import annotations

import math

import torch

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


def gaussian_log_prob(actions: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log-density of a diagonal Gaussian, summed over action dimensions.

    Args:
        actions: Unclipped actions. Shape (..., A).
        mean: Means. Shape (..., A).
        log_std: Logarithms of the standard deviations, broadcastable to (..., A).

    Returns:
        Log-probabilities of shape (...).
    """
    scaled = (actions - mean) * torch.exp(-log_std)
    return (-0.5 * scaled.square() - log_std - LOG_SQRT_2_PI).sum(dim=-1)


def gaussian_entropy(log_std: torch.Tensor) -> torch.Tensor:
    """Entropy of a diagonal Gaussian, summed over action dimensions [nat].

    Args:
        log_std: Logarithms of the standard deviations. Shape (..., A).

    Returns:
        Entropies of shape (...).
    """
    return (log_std + (0.5 + LOG_SQRT_2_PI)).sum(dim=-1)


def gaussian_kl(
    mean: torch.Tensor, log_std: torch.Tensor, old_mean: torch.Tensor, old_log_std: torch.Tensor
) -> torch.Tensor:
    """Divergence KL(new || old) of diagonal Gaussians, summed over action dimensions [nat].

    The official code adds 1e-5 inside the logarithm and to the variance. Both are kept: the learning rate follows this
    number.

    Args:
        mean: Means of the current policy. Shape (rows, A).
        log_std: Log standard deviations of the current policy. Shape (rows, A).
        old_mean: Means of the reference policy. Shape (rows, A).
        old_log_std: Log standard deviations of the reference policy. Shape (rows, A).

    Returns:
        Divergences of shape (rows,).
    """
    std, old_std = log_std.exp(), old_log_std.exp()
    spread = (std.square() + (old_mean - mean).square()) / (2.0 * (old_std.square() + 1e-5))
    return (torch.log(old_std / std + 1e-5) + spread - 0.5).sum(dim=-1)
