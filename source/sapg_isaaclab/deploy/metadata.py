"""What an exported file says of itself: plain values, the same in the file and in the JSON beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.run_folder import package_versions

FORMAT = 1
"""Version of the layout of the metadata and of the file's inputs and outputs."""

CHECK_TOLERANCE = 1e-4
"""Largest difference of actions on another machine from those that the file was exported with."""


def describe(
    agent: Any, block: int, sizes: tuple[int, int, int], interface: dict[str, Any], training: dict[str, Any]
) -> dict[str, Any]:
    """Metadata of a policy.

    Args:
        agent: The agent it comes from.
        block: Whose policy it is.
        sizes: Observation columns D, action columns A and LSTM units H (0 without).
        interface: What the task says of itself: ``task``, ``control_hz``, ``observations``, ``actions``, ``frames``.
            A task that says nothing is allowed.
        training: Where the policy comes from, such as iteration and env-steps.

    Returns:
        Plain values.

    Raises:
        InputError: If the task describes other observations or actions than the policy has.
    """
    num_observations, num_actions, rnn_units = sizes
    described = {
        "observations": {"size": num_observations, **interface.get("observations", {})},
        "actions": {"size": num_actions, **interface.get("actions", {})},
    }
    for name, size in (("observations", num_observations), ("actions", num_actions)):
        if described[name]["size"] != size:
            raise InputError(
                f"the task has {described[name]['size']} {name}, the policy was trained with {size}; export it with"
                " the version of the task that trained it (see run.json)"
            )
    return {
        "format": FORMAT,
        "task": interface.get("task"),
        "policy": {
            "algorithm": training.get("algorithm"),
            "block": block,
            "name": agent.cfg.policy_names()[block],
            "num_blocks": agent.layout.num_blocks,
            "rnn_units": rnn_units,
            "actions": "mean, not clamped",
        },
        "control_hz": interface.get("control_hz"),
        **described,
        "frames": interface.get("frames", {}),
        "training": training,
        "versions": package_versions(),
    }


def relative_difference(actions: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference of actions; relative to the reference where that is beyond 1.

    Args:
        actions: Actions. Shape (..., A).
        reference: What they should be, same shape.

    Returns:
        The difference; NaN if a number is.
    """
    return float(np.max(np.abs(actions - reference) / np.maximum(1.0, np.abs(reference))))
