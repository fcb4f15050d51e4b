"""Agents: SAPG, PPO, DexPBT and PQL, and what they share. Nothing here knows Isaac Lab."""
