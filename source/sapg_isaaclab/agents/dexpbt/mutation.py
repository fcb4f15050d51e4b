"""How hyper-parameters change at random, as in the official code of DexPBT."""

from __future__ import annotations

from collections.abc import Callable

import torch

Hyperparameters = dict[str, float | int]
"""Values by name: ``agent.`` or ``reward.`` and the name of the option."""

Mutator = Callable[[float, tuple[float, float], torch.Generator], float]

RATIO_CLIP_BOUNDS = (0.01, 0.3)
EPOCH_BOUNDS = (1, 8)
DISCOUNT_RANGE = (1.1, 1.2)


def mutate_float(value: float, factors: tuple[float, float], generator: torch.Generator) -> float:
    """Multiply or divide by a random factor, either with probability 1/2.

    Args:
        value: Value, of either sign.
        factors: Range of the factor, which is uniform.
        generator: Host generator.

    Returns:
        Mutated value.
    """
    low, high = factors
    factor = low + (high - low) * uniform(generator)
    return value * factor if uniform(generator) < 0.5 else value / factor


def mutate_ratio_clip(value: float, factors: tuple[float, float], generator: torch.Generator) -> float:
    """As :func:`mutate_float`, then clamped to :data:`RATIO_CLIP_BOUNDS`.

    Args:
        value: Half-width of the trust region.
        factors: Range of the factor.
        generator: Host generator.

    Returns:
        Mutated value.
    """
    low, high = RATIO_CLIP_BOUNDS
    return min(max(mutate_float(value, factors, generator), low), high)


def mutate_epochs(value: float, factors: tuple[float, float], generator: torch.Generator) -> int:
    """One more or one less, within :data:`EPOCH_BOUNDS`.

    Args:
        value: Number of epochs.
        factors: Not used.
        generator: Host generator.

    Returns:
        Mutated value.
    """
    low, high = EPOCH_BOUNDS
    return min(max(int(value) + (1 if uniform(generator) < 0.5 else -1), low), high)


def mutate_discount(value: float, factors: tuple[float, float], generator: torch.Generator) -> float:
    """Mutate the horizon: 1 - gamma by a factor in :data:`DISCOUNT_RANGE`.

    Args:
        value: Discount gamma.
        factors: Not used.
        generator: Host generator.

    Returns:
        Mutated value, not below 0.
    """
    return 1.0 - min(mutate_float(1.0 - value, DISCOUNT_RANGE, generator), 1.0)


MUTATORS: dict[str, Mutator] = {
    "grad_norm_clip": mutate_float,
    "value_loss_scale": mutate_float,
    "bounds_loss_scale": mutate_float,
    "kl_threshold": mutate_float,
    "ratio_clip": mutate_ratio_clip,
    "learning_epochs": mutate_epochs,
    "discount_factor": mutate_discount,
}
"""Options of an agent that can mutate, and how. Weights of the reward mutate by :func:`mutate_float`."""


def mutate(
    values: Hyperparameters, *, rate: float, factors: tuple[float, float], generator: torch.Generator
) -> Hyperparameters:
    """Mutate each value with some probability.

    Args:
        values: Hyper-parameters; left as they are.
        rate: Probability with which each of them mutates.
        factors: Range of the factor of :func:`mutate_float`.
        generator: Host generator.

    Returns:
        Hyper-parameters with the same names.
    """
    mutated = dict(values)
    for name, value in values.items():
        if uniform(generator) < rate:
            mutated[name] = MUTATORS.get(name.removeprefix("agent."), mutate_float)(value, factors, generator)
    return mutated


def uniform(generator: torch.Generator) -> float:
    """A number from [0, 1).

    Args:
        generator: Host generator.

    Returns:
        The number.
    """
    return torch.rand((), dtype=torch.float64, generator=generator).item()
