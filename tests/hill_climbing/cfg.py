"""Options of hill climbing."""

from __future__ import annotations

import dataclasses

from skrl.agents.torch import AgentCfg

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.options import check_types, require

PRESETS = {"bold": {"step": 0.5}}


@dataclasses.dataclass(kw_only=True)
class HillClimbingCfg(AgentCfg):
    """Options of hill climbing."""

    seed: int = 42
    rollouts: int = 8
    step: float = 0.3
    """Standard deviation of a change of the parameters."""

    def policy_names(self) -> list[str]:
        return ["policy"]

    def check(self, num_envs: int | None) -> BlockLayout:
        check_types(self)
        require(self.step > 0.0, f"agent.step is {self.step}; it must be positive")
        return BlockLayout(num_envs or 1, num_blocks=1)
