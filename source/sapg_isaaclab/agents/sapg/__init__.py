"""Split and Aggregate Policy Gradients (Singla et al., ICML 2024). With one block it is PPO."""

from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.cfg import PAPER, SapgCfg

__all__ = ["PAPER", "SAPG", "SapgCfg"]
