"""DexPBT (Petrenko et al., 2023): a population of PPO learners that replace their worst and mutate their options."""

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg

__all__ = ["DexPBT", "DexPbtCfg"]
