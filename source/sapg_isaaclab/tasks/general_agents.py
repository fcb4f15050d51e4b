"""Options of every algorithm for tasks that bring none of their own: ``general_agents.<kind>``, made when asked for."""

from __future__ import annotations

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.tasks.agent_presets import agent_presets


def __getattr__(kind: str) -> type:
    """Presets of the first algorithm of a kind.

    Args:
        kind: Name of an algorithm's package.

    Returns:
        Preset class.

    Raises:
        AttributeError: If there is no such algorithm.
    """
    for name, algorithm in ALGORITHMS.items():
        if algorithm.kind == kind:
            return agent_presets(name, "", {})
    raise AttributeError(f"there is no algorithm {kind!r}; use one of {', '.join(ALGORITHMS)}")
