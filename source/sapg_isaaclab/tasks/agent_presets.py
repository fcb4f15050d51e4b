"""From one set of options to every agent preset of a task."""

from __future__ import annotations

from typing import Any

from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg
from skrl.agents.torch import AgentCfg

from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.sapg.cfg import ABLATIONS, PAPER, SapgCfg

_SMALL_POPULATION = {"interval": 10_000, "start_after": 20_000, "initial_delay": 40_000}
_SMALL_REPLAY = {"replay_size": 200_000, "batch_size": 1024}


def sapg_presets(
    experiment: str,
    options: dict[str, Any],
    *,
    paper: dict[str, Any] | None = None,
    **more: dict[str, Any],
) -> type[PresetCfg]:
    """SAPG's options on a task, with all presets.

    Args:
        experiment: Name of the folder that runs of the task share; made from the task's id if empty.
        options: Options of the default preset, the official code's.
        paper: Where the paper differs on this task, on top of :data:`PAPER`.
        more: Further presets by name, each a set of options on top of the default's.

    Returns:
        Preset class with ``default``, ``paper``, every name in :data:`ABLATIONS` and those in ``more``.
    """
    return _presets(SapgCfg, experiment, options, {"paper": {**PAPER, **(paper or {})}, **ABLATIONS, **more})


def dexpbt_presets(experiment: str, options: dict[str, Any], **more: dict[str, Any]) -> type[PresetCfg]:
    """DexPBT's options on a task: a population of the PPO that is compared with SAPG.

    Args:
        experiment: Name of the folder that runs of the task share.
        options: Options of the task that SAPG's default preset has too.
        more: Further presets by name. ``small`` also shortens the times between selections.

    Returns:
        Preset class with ``default``, ``small`` and those in ``more``.
    """
    more["small"] = {**_SMALL_POPULATION, **more.get("small", {})}
    return _presets(DexPbtCfg, experiment, options, more)


def pql_presets(experiment: str, options: dict[str, Any]) -> type[PresetCfg]:
    """PQL's options on a task.

    Args:
        experiment: Name of the folder that runs of the task share.
        options: Where the task differs from the defaults of :class:`PqlCfg`.

    Returns:
        Preset class with ``default``, ``pql_d`` (distributional critic) and ``small`` (replay and batches that suit
        a few hundred environments on a CPU).
    """
    more = {"pql_d": {"critic": "distributional"}, "small": {"hidden_sizes": (256, 128, 64), **_SMALL_REPLAY}}
    return _presets(PqlCfg, experiment, options, more)


def _presets(
    cfg_class: type[AgentCfg], experiment: str, options: dict[str, Any], changes: dict[str, dict[str, Any]]
) -> type[PresetCfg]:
    presets = {}
    for name, change in {"default": {}, **changes}.items():
        presets[name] = cfg_class(**{**options, **change})
        presets[name].experiment.directory = experiment
    name = f"{cfg_class.__name__.removesuffix('Cfg')}Presets"
    return configclass(type(name, (PresetCfg,), {"__annotations__": dict.fromkeys(presets, cfg_class), **presets}))
