"""An environment and an agent, made in the order that seeding needs."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.contract import TrainableAgent, VectorEnv
from sapg_isaaclab.errors import InputError, TrainingError, one_line
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import RunFolder


def make_env(task: str, env_cfg: Any, seed: int) -> VectorEnv:
    """Make a seeded environment in skrl's wrapper.

    Args:
        task: Task id.
        env_cfg: Complete configuration.
        seed: Seed of the environment and of all generators; another one on every rank.

    Returns:
        The wrapped environment.
    """
    from isaaclab_rl.skrl import SkrlVecEnvWrapper
    from skrl.utils import set_seed

    from sapg_isaaclab.tasks.host_memory import ensure_host_memory

    ensure_host_memory()  # for tasks of other packages; ours do it themselves
    env_cfg.seed = seed
    # the wrapper copies skrl's key when it is made and seeds torch with it at the first reset: without this, all seeds
    # would give the same data
    set_seed(seed)
    made: Any = gym.make(task, cfg=env_cfg)
    return cast(VectorEnv, SkrlVecEnvWrapper(made))


def make_agent(env: VectorEnv, agent_cfg: Any, *, with_memory: bool = True) -> TrainableAgent:
    """Build an agent for an environment.

    Args:
        env: The wrapped environment.
        agent_cfg: Options of the agent.
        with_memory: False for an agent that only acts.

    Returns:
        The agent.

    Raises:
        InputError: If an option does not suit the environment.
    """
    one_precision()
    try:
        return build_agent(env, agent_cfg, with_memory=with_memory)
    except ValueError as error:
        raise InputError(one_line(error)) from error


def rewind(run: RunFolder, state: dict[str, Any]) -> tuple[int, int]:
    """Prepare a run folder for going on from one of its checkpoints; what came later is set aside.

    Args:
        run: The run folder.
        state: The checkpoint.

    Returns:
        Number of later checkpoints and of later rows of metrics.jsonl.

    Raises:
        TrainingError: If the folder cannot be written; the checkpoint stays.
    """
    best = state["best"]
    try:
        moved = checkpoint.rewind(run, state["iteration"], best["iteration"] if best else None)
        return len(moved), metrics.rewind(run, state["iteration"])
    except OSError as error:
        raise TrainingError(f"cannot write in {run.path}: {error}; its checkpoints are intact") from error


def one_precision() -> None:
    """Let cuDNN, which unrolls an LSTM, be as exact as torch's matrix products are: 32 bits unless asked otherwise.

    By torch's defaults cuDNN uses TF32 and matrix products do not. ``TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1``, one of
    torch's variables, asks for TF32, here for both.
    """
    torch.backends.cudnn.allow_tf32 = torch.get_float32_matmul_precision() != "highest"


def precision() -> dict[str, Any]:
    """How torch multiplies matrices of 32-bit numbers.

    Returns:
        ``float32_matmul``: ``highest`` (32 bits), ``high`` or ``medium`` (TF32 or less); ``cudnn_tf32``: whether
        cuDNN, which unrolls an LSTM, may use TF32.
    """
    return {
        "float32_matmul": torch.get_float32_matmul_precision(),
        "cudnn_tf32": bool(torch.backends.cudnn.allow_tf32),
    }


def summary(env: VectorEnv, agent: TrainableAgent, rows: dict[str, Any]) -> str:
    """Sizes of a run, printed once at its start.

    Args:
        env: The wrapped environment.
        agent: The agent.
        rows: Further lines by name.

    Returns:
        A block of text.
    """
    parameters = {id(p): p.numel() for model in agent.models.values() if model is not None for p in model.parameters()}
    device = str(env.device)
    name = torch.cuda.get_device_name(env.device) if device.startswith("cuda") else "CPU"
    sizes = {
        "device": f"{device} ({name})",
        **agent.sizes(),
        "parameters": f"{sum(parameters.values()):,}",
    }
    return "\n".join(f"  {key:<14}{value}" for key, value in {**rows, **sizes}.items())
