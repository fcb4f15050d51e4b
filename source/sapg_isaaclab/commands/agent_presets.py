"""From plain options, as a task gives them, to every preset of an algorithm on that task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.commands.agent_options import agent_options


def agent_presets(kind: str, options: Mapping[str, Mapping[str, Any]]) -> type[PresetCfg]:
    """An algorithm's options on a task, with all presets.

    Args:
        kind: Name of an algorithm's package, such as ``sapg``.
        options: Options by preset. Those of ``default`` hold in every preset, where they differ from the algorithm's
            own; those of a preset that the algorithm's ``PRESETS`` have too come on top of that.

    Returns:
        Preset class with ``default``, every name in the algorithm's ``PRESETS``, and those in ``options``.

    Raises:
        ValueError: If there is no such algorithm.
    """
    algorithm = next((each for each in ALGORITHMS.values() if each.kind == kind), None)
    if algorithm is None:
        raise ValueError(f"there is no algorithm {kind!r}; use one of {', '.join(ALGORITHMS)}")
    cfg_class, general = algorithm.cfg_class(), algorithm.presets()
    common = options.get("default", {})
    presets = {
        name: cfg_class(**{**common, **general.get(name, {}), **options.get(name, {})})
        for name in dict.fromkeys(("default", *general, *options))
    }
    name = f"{cfg_class.__name__.removesuffix('Cfg')}Presets"
    return configclass(type(name, (PresetCfg,), {"__annotations__": dict.fromkeys(presets, cfg_class), **presets}))


def __getattr__(name: str) -> type[PresetCfg]:
    """Presets of ``<task id>.<kind>``, for registrations, which name things by strings only.

    Args:
        name: A registered task and the name of an algorithm's package.

    Returns:
        Preset class.

    Raises:
        AttributeError: If there is no such task or algorithm.
    """
    task, _, kind = name.rpartition(".")
    if task not in gym.registry:
        raise AttributeError(name)
    try:
        return agent_presets(kind, agent_options(task).get(kind, {}))
    except ValueError as error:
        raise AttributeError(str(error)) from error
