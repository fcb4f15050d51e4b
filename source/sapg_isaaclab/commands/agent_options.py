"""Options of agents that suit a task, as the task gives them: plain values. Imports neither torch nor Isaac Lab."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym


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
