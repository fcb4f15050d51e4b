"""Split and Aggregate Policy Gradients (Singla et al., ICML 2024). With one block it is PPO."""

import importlib

_HOMES = {"SAPG": "agent", "SapgCfg": "cfg", "PAPER": "cfg"}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """Import the agent on first use: the memory and the models need :mod:`.blocks` without needing the agent."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
