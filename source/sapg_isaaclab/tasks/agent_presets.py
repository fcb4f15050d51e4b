"""From one set of options to every agent preset of a task."""

from __future__ import annotations

import functools
from typing import Any

from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from sapg_isaaclab.agents.algorithms import ALGORITHMS


def agent_presets(algorithm: str, experiment: str, options: dict[str, Any], **more: dict[str, Any]) -> type[PresetCfg]:
    """An algorithm's options on a task, with all presets.

    Args:
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.
        experiment: Name of the folder that runs of the task share; made from the task's id if empty.
        options: Options of the default preset, where they differ from the algorithm's own defaults.
        more: Presets by name, each a set of options on top of the default's. One of a name that the algorithm's
            ``PRESETS`` have too comes on top of that.

    Returns:
        Preset class with ``default``, every name in the algorithm's ``PRESETS``, and those in ``more``.
    """
    kind = ALGORITHMS[algorithm]
    cfg_class, general = kind.cfg_class(), kind.presets()
    presets = {}
    for name in dict.fromkeys(("default", *general, *more)):
        presets[name] = cfg_class(**{**options, **general.get(name, {}), **more.get(name, {})})
        presets[name].experiment.directory = experiment
    name = f"{cfg_class.__name__.removesuffix('Cfg')}Presets"
    return configclass(type(name, (PresetCfg,), {"__annotations__": dict.fromkeys(presets, cfg_class), **presets}))


sapg_presets = functools.partial(agent_presets, "sapg")
dexpbt_presets = functools.partial(agent_presets, "dexpbt")
pql_presets = functools.partial(agent_presets, "pql")
