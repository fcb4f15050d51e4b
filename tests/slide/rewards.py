"""Reward terms: pure functions."""

import torch


def distance_term(error: torch.Tensor) -> torch.Tensor:
    """Minus the distance to the goal [m], shape (N,), of errors, shape (N, 3)."""
    return -torch.linalg.vector_norm(error, dim=-1)
