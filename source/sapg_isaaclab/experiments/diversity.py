"""How different the visited states are: what principal components and small autoencoders cannot reconstruct.

Figures 7 and 8 of the paper. The more directions a set of states spreads over, the more slowly its error falls with the
number of components, or of hidden units. The paper does not say how its states were drawn or scaled; here all sets have
as many states, from the second half of their run, and are standardised by the same numbers.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import torch

from sapg_isaaclab.training.visited import FILE

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
"""Hidden units of the autoencoders."""

FEWEST = 32
"""Least number of states that a set must have."""

_CONSTANT = 1e-6


def state_sets(folder: pathlib.Path, label: str) -> dict[str, np.ndarray]:
    """States that a run has visited in its second half.

    Args:
        folder: The run folder.
        label: What to call the run.

    Returns:
        Arrays (n, D), by name. A run of several policies has a set of all, of the leader, and of each follower.

    Raises:
        OSError: If the run has kept no states.
    """
    with np.load(folder / FILE) as file:
        states, iterations, leader = file["states"], file["iterations"], int(file["leader"])
    late = iterations > iterations.max() / 2
    blocks = [states[block][late[block]].astype(np.float64) for block in range(len(states))]
    if len(blocks) == 1:
        return {label: blocks[0]}
    followers = [block for block in range(len(blocks)) if block != leader]
    return {
        f"{label}, all blocks": np.concatenate(blocks),
        f"{label}, leader": blocks[leader],
        **{f"{label}, follower {number}": blocks[block] for number, block in enumerate(followers, start=1)},
    }


def on_one_scale(sets: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Sets of the same size, standardised by the mean and deviation of all of them together.

    Args:
        sets: Arrays (n, D), by name.
        seed: Seed of the draw of states from the larger sets.

    Returns:
        Arrays (n', D'), by name; n' is the size of the smallest set, and dimensions that never change are left out.

    Raises:
        ValueError: If a set has too few states.
    """
    count = min(map(len, sets.values()))
    if count < FEWEST:
        raise ValueError(f"a set has {count} states, which is too few; train longer, or with a larger --dump_states")
    generator = np.random.default_rng(seed)
    drawn = {name: states[generator.permutation(len(states))[:count]] for name, states in sets.items()}
    pooled = np.concatenate(list(drawn.values()))
    mean, deviation = pooled.mean(axis=0), pooled.std(axis=0)
    varies = deviation > _CONSTANT
    return {name: (states[:, varies] - mean[varies]) / deviation[varies] for name, states in drawn.items()}


def pca_errors(states: np.ndarray) -> np.ndarray:
    """What the first k principal components leave of a set of states.

    Args:
        states: States (n, D).

    Returns:
        Mean squared error of an element for k = 0 to D. Shape (D + 1,). The first is the variance, the last is 0.
    """
    count, size = states.shape
    singular = np.linalg.svd(states - states.mean(axis=0), compute_uv=False)
    squares = np.zeros(size)
    squares[: len(singular)] = singular**2
    left = np.concatenate((np.cumsum(squares[::-1])[::-1], [0.0]))
    return left / (count * size)


def autoencoder_errors(
    sets: dict[str, np.ndarray],
    widths: tuple[int, ...] = WIDTHS,
    *,
    inits: int = 3,
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """What an autoencoder with one hidden layer leaves of sets of states, on the states it was trained on.

    All networks of a width are trained at once, on minibatches drawn alike, by Adam.

    Args:
        sets: Arrays (n, D) of equal shape, by name.
        widths: Numbers of hidden units, ELU.
        inits: Networks for each set and width, from different starts.
        steps: Gradient steps.
        batch_size: States of a step.
        learning_rate: Step size.
        seed: Seed of starts and minibatches.

    Returns:
        Mean squared error of an element, mean over the starts. Shape (widths,), by name.
    """
    data = torch.stack([torch.from_numpy(states).float() for states in sets.values()]).repeat_interleave(inits, dim=0)
    networks, count, size = data.shape
    errors = []
    for width in widths:
        generator = torch.Generator().manual_seed(seed)

        def start(*shape: int, generator: torch.Generator = generator) -> torch.Tensor:
            bound = shape[1] ** -0.5  # torch's own for linear layers
            return ((2.0 * torch.rand(*shape, generator=generator) - 1.0) * bound).requires_grad_()

        weights = [start(networks, size, width), start(networks, width, size)]
        biases = [torch.zeros(networks, 1, units, requires_grad=True) for units in (width, size)]

        def reconstruct(rows: torch.Tensor, weights: list = weights, biases: list = biases) -> torch.Tensor:
            hidden = torch.nn.functional.elu(torch.baddbmm(biases[0], rows, weights[0]))
            return torch.baddbmm(biases[1], hidden, weights[1])

        optimizer = torch.optim.Adam([*weights, *biases], lr=learning_rate)
        for _ in range(steps):
            rows = data[:, torch.randint(count, (min(batch_size, count),), generator=generator)]
            loss = (reconstruct(rows) - rows).square().mean(dim=(1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            errors.append((reconstruct(data) - data).square().mean(dim=(1, 2)).view(-1, inits).mean(dim=1))
    table = torch.stack(errors, dim=1).double().numpy()
    return dict(zip(sets, table))


def measure(kind: str, sets: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One figure's lines.

    Args:
        kind: ``pca`` or ``autoencoder``.
        sets: What :func:`state_sets` returned for all runs of a task and a seed.

    Returns:
        Plain values: ``set``, ``x`` (components or hidden units), ``y`` (errors), and ``states`` (how many).

    Raises:
        ValueError: If a set has too few states.
    """
    scaled = on_one_scale(sets)
    count, size = next(iter(scaled.values())).shape
    if kind == "pca":
        x, found = list(range(size + 1)), {name: pca_errors(states) for name, states in scaled.items()}
    else:
        x = [width for width in WIDTHS if width <= size]
        found = autoencoder_errors(scaled, tuple(x))
    return [
        {"set": name, "x": x, "y": [float(f"{error:.6g}") for error in errors], "states": count}
        for name, errors in found.items()
    ]
