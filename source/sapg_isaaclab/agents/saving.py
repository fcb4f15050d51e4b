"""Saved states: loading them, whether they fit, and how they move from one type of device to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from sapg_isaaclab.errors import InputError, one_line


def load_into(load: Callable[[dict[str, Any]], None], state: dict[str, Any], source: str, *, instead: str = "") -> None:
    """Load a saved state, answering a misfit in one line.

    Args:
        load: ``agent.load_policy``, ``trainer.restore`` or the like.
        state: What to load.
        source: What to call it in the message.
        instead: What else there is to do where the state lacks something, a part of the message.

    Raises:
        InputError: If it does not fit.
    """
    try:
        load(state)
    except KeyError as error:
        raise InputError(
            f"{source}: the checkpoint lacks {error}; use the version of sapg_isaaclab that wrote it (see run.json)"
            + (f", or {instead}" if instead else "")
        ) from error
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{source}: {one_line(error)}") from error


def check_shapes(name: str, saved: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
    """Refuse the state of another network.

    Args:
        name: Whose state, for the message.
        saved: Tensors of the checkpoint, by name.
        own: Tensors of this agent, by name.

    Raises:
        ValueError: If a name or a shape differs.
    """
    for key in {**own, **saved}:
        came, here = (tuple(side[key].shape) if key in side else "nothing" for side in (saved, own))
        if came != here:
            raise ValueError(
                f"the checkpoint's {name}.{key} has shape {came}, this agent's {here};"
                " use the task and the network options of the run that wrote it"
            )


def load_generator(generator: torch.Generator, state: torch.Tensor, *, seed: int) -> None:
    """Go on from a generator's saved state.

    The generators of a CPU and of CUDA are different algorithms with states of different sizes: between them no
    sequence can go on. A new one begins then, seeded by all of the saved state and ``seed``, so that the same
    checkpoint still gives the same run.

    Args:
        generator: What is to go on.
        state: What ``get_state`` returned, perhaps on another type of device.
        seed: Seed of the run.
    """
    state = state.cpu()
    if state.numel() == generator.get_state().numel():
        generator.set_state(state)
        return
    # a polynomial in an odd number over whole numbers modulo 2^63: any byte that differs gives another seed
    mixed = seed
    for byte in state.tolist():
        mixed = (mixed * 6364136223846793005 + byte + 1) % 2**63
    generator.manual_seed(mixed)


def load_grad_scaler(scaler: torch.amp.GradScaler, state: dict[str, Any]) -> None:
    """Go on from a gradient scaler's saved state.

    A scaler that is turned off, as on a CPU, saves nothing: an enabled one then begins with its own first scale.

    Args:
        scaler: What is to go on.
        state: What its ``state_dict`` returned.
    """
    if state:
        scaler.load_state_dict(state)
