"""Stacks of linear layers."""

from __future__ import annotations

from torch import nn

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(sizes: tuple[int, ...], activation: str) -> nn.Sequential:
    """Linear layers with an activation after each.

    Args:
        sizes: Numbers of inputs, then of the units of each layer.
        activation: Name in :data:`ACTIVATIONS`.

    Returns:
        The layers; nothing but the identity for a single size.
    """
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
