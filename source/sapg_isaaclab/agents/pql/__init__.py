"""Parallel Q-Learning (Li et al., ICML 2023), the off-policy baseline. With a distributional critic it is PQL-D."""

from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.pql.cfg import PqlCfg

__all__ = ["PQL", "PqlCfg"]
