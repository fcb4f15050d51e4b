"""The agent of a checkpoint, without the environment it was trained in."""

from __future__ import annotations

import types
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.saving import load_into
from sapg_isaaclab.errors import InputError, one_line


def restore_agent(state: dict[str, Any], cfg: Any, source: str) -> Any:
    """Build the agent that wrote a checkpoint and load its policies. It only acts, on the CPU.

    The sizes of observations and actions are those of the saved networks, so that no environment is needed.

    Args:
        state: What the agent's ``state_dict`` returned: ``agent`` of a checkpoint.
        cfg: Options of the agent.
        source: What to call the checkpoint in messages.

    Returns:
        The agent.

    Raises:
        InputError: If the state does not fit the options.
    """
    try:
        sizes = _sizes(state)
    except (KeyError, IndexError) as error:
        raise InputError(f"{source} holds no policy of an agent of this package") from error
    spaces = {
        name: None if size is None else gym.spaces.Box(-np.inf, np.inf, (size,))
        for name, size in zip(("observation_space", "state_space", "action_space"), sizes)
    }
    env = types.SimpleNamespace(num_envs=1, device=torch.device("cpu"), unwrapped=None, **spaces)
    try:
        agent = build_agent(env, cfg, with_memory=False)
        agent.init()
    except ValueError as error:
        raise InputError(f"{source}: {one_line(error)}") from error
    load_into(agent.load_policy, state, source)
    agent.enable_training_mode(False)
    return agent


def _sizes(state: dict[str, Any]) -> tuple[int, int | None, int]:
    """Columns of observations, of the privileged state (None if no critic saw one), and of actions."""
    if "pql" in state:
        actor = state["pql"]["actor"]
        return len(state["pql"]["scaler"]["mean"]), None, len([v for k, v in actor.items() if k.endswith("bias")][-1])
    policies = (state["learners"][0] if "learners" in state else state)["policies"]
    scalers = policies["scalers"]
    states = len(scalers["states.mean"]) if "states.mean" in scalers else None
    return len(scalers["observations.mean"]), states, len(policies["model"]["mean.bias"])
