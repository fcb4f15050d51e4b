"""Options that all tasks share."""

from __future__ import annotations

from typing import Literal

from isaaclab.envs import DirectRLEnvCfg
from isaaclab.utils import configclass


@configclass
class TaskEnvCfg(DirectRLEnvCfg):
    """Options of every :class:`~sapg_isaaclab.tasks.base.TaskEnv`."""

    is_finite_horizon = False

    num_blocks: int = 1
    """Number of policy blocks: each gets the same mix of what differs between environments, and the metrics distinguish
    them. The training script sets it."""

    on_nan: Literal["reset", "stop"] = "reset"
    """What becomes of an environment whose physics state or actions are not finite: it begins a new episode and is
    counted, or training also stops at the end of the iteration."""

    nan_limit: float = 0.25
    """Training stops where more such resets happen in one iteration than this share of the environments; one is always
    allowed."""

    physx_threads: int | None = None
    """Worker threads of PhysX without Isaac Sim; None for as many as there are cores for this process. The motion does
    not depend on it."""

    def play_mode(self) -> None:
        """Make the scene small enough to watch."""
        super().play_mode()
        self.scene.num_envs = min(self.scene.num_envs, 16)
