"""Options of agents that suit a task, as the task gives them: plain values. Imports neither torch nor Isaac Lab."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from sapg_isaaclab.agents.algorithms import ALGORITHMS


def agent_options(task: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """What a task's registration names as ``agent_options_entry_point``.

    Args:
        task: Id of a registered task.

    Returns:
        Options by preset, by name of the algorithm's package; empty where the task gives none.
    """
    place = gym.spec(task).kwargs.get("agent_options_entry_point", "")
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name) if place else {}


def options_of_algorithm(task: str, algorithm: str) -> dict[str, Any]:
    """What ``--algorithm NAME`` sets on a task where the name stands for one of the algorithm's presets.

    Args:
        task: Task id.
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.

    Returns:
        Options by name, those that the task gives for the preset included; none where the name is no preset's.
    """
    which = ALGORITHMS[algorithm]
    if not which.preset:
        return {}
    return {**which.presets()[which.preset], **agent_options(task).get(which.kind, {}).get(which.preset, {})}


def chosen_variant(algorithm: str, tokens: list[str]) -> bool:
    """Whether the chosen presets say already what the algorithm's name stands for, as ``cpo_released`` does.

    Args:
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.
        tokens: Presets and overrides.

    Returns:
        Whether one is the algorithm's own preset, or is called after it.
    """
    preset = ALGORITHMS[algorithm].preset
    given = dict(token.split("=", 1) for token in tokens)
    named = [name.strip() for way in ("presets", "agent") for name in given.get(way, "").split(",")]
    return bool(preset) and any(name == preset or name.startswith(f"{preset}_") for name in named)
