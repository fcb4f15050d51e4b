"""Agents: SAPG and the pure functions it is made of. Nothing here knows Isaac Lab."""
