"""Split and Aggregate Policy Gradients (Singla et al., ICML 2024). With one block it is PPO."""

from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.presets import PAPER

__all__ = ["PAPER", "SAPG", "SapgCfg"]
