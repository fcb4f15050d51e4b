"""DexPBT (Petrenko et al., 2023): a population of PPO learners that replace their worst and mutate their options."""

import importlib

_HOMES = {"DexPBT": "agent", "DexPbtCfg": "cfg"}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """Import the agent on first use: tasks need only its options."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
