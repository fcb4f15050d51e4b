"""Every environment of the study by name."""

from __future__ import annotations

from sapg_isaaclab.experiments import point_envs
from sapg_isaaclab.experiments.door_chain import DoorChain, OneDoor
from sapg_isaaclab.experiments.trap_env import TrapEnv

ENVS: dict[str, type[TrapEnv]] = {**point_envs.ENVS, "door_chain": DoorChain, "one_door": OneDoor}
"""Environments by name."""
