"""From one set of options to every agent preset of a task."""

from __future__ import annotations

from typing import Any

from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from sapg_isaaclab.agents.sapg.cfg import ABLATIONS, PAPER, SapgCfg


def sapg_presets(
    experiment: str,
    options: dict[str, Any],
    *,
    paper: dict[str, Any] | None = None,
    **more: dict[str, Any],
) -> type[PresetCfg]:
    """Agent configuration of a task with all its presets.

    Args:
        experiment: Name of the folder that runs of the task share.
        options: Options of the default preset, the official code's.
        paper: Where the paper differs on this task, on top of :data:`PAPER`.
        more: Further presets by name, each a set of options on top of the default's.

    Returns:
        Preset class with ``default``, ``paper``, every name in :data:`ABLATIONS` and those in ``more``.
    """
    changes = {"default": {}, "paper": {**PAPER, **(paper or {})}, **ABLATIONS, **more}
    presets = {}
    for name, change in changes.items():
        presets[name] = SapgCfg(**{**options, **change})
        presets[name].experiment.directory = experiment
    return configclass(
        type("SapgPresets", (PresetCfg,), {"__annotations__": dict.fromkeys(presets, SapgCfg), **presets})
    )
