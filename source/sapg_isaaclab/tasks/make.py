"""Turns the arguments of ``gym.make`` into the configuration of an environment."""

from __future__ import annotations

import importlib

import torch
from isaaclab.envs import DirectRLEnvCfg
from isaaclab_tasks.utils.hydra import resolve_presets

from sapg_isaaclab.tasks.physics import PHYSICS_NAMES, fit_contact_buffers


def resolve_env_cfg(
    cfg: DirectRLEnvCfg | None,
    entry_point: str | None,
    *,
    num_envs: int | None,
    device: str | None,
    seed: int | None,
    physics: str | None,
) -> DirectRLEnvCfg:
    """Complete and check a task's configuration.

    Args:
        cfg: Configuration given by the caller; used as it is, with presets resolved and contact buffers fitted.
        entry_point: ``"module:class"`` of the configuration to start from where ``cfg`` is None.
        num_envs: Number of environments, None for the task's default.
        device: Simulation device, None for the task's default.
        seed: Seed, None for none.
        physics: Name of a physics preset, None for the default.

    Returns:
        The configuration, without unresolved presets.

    Raises:
        ValueError: If an argument has no meaning, contradicts ``cfg`` or asks for a device this machine lacks.
    """
    choices = {"num_envs": num_envs, "device": device, "seed": seed, "physics": physics}
    given = [name for name, value in choices.items() if value is not None]
    if cfg is not None and given:
        raise ValueError(f"cfg was given together with {', '.join(given)}; set these in the cfg instead")
    if physics is not None and physics not in PHYSICS_NAMES:
        raise ValueError(f"physics={physics!r} is unknown; use one of {', '.join(PHYSICS_NAMES)}")
    if cfg is None:
        if entry_point is None:
            raise ValueError("neither a cfg nor a task was given; use gym.make with a task id, or pass cfg=")
        module, name = entry_point.split(":")
        cfg = getattr(importlib.import_module(module), name)()
    cfg = resolve_presets(cfg, [] if physics is None else [physics])
    if num_envs is not None:
        cfg.scene.num_envs = num_envs
    if device is not None:
        cfg.sim.device = device
    if seed is not None:
        cfg.seed = seed
    if not isinstance(cfg.scene.num_envs, int) or cfg.scene.num_envs < 1:
        raise ValueError(f"num_envs={cfg.scene.num_envs!r} is not allowed; give a whole number of at least 1")
    _check_device(cfg.sim.device)
    fit_contact_buffers(cfg.sim.physics, cfg.scene.num_envs)
    return cfg


def check_registration_kwargs(kwargs: dict[str, object]) -> None:
    """Refuse arguments of ``gym.make`` that neither the environment nor a registration knows.

    Args:
        kwargs: Arguments left over.

    Raises:
        ValueError: If there are any.
    """
    unknown = [name for name in kwargs if not name.endswith("_entry_point") and name != "default_agent"]
    if unknown:
        raise ValueError(f"gym.make does not know {', '.join(unknown)}; use cfg, num_envs, device, seed or physics")


def check_num_blocks(num_envs: int, num_blocks: int) -> None:
    """Check that the environments split into equal blocks.

    Args:
        num_envs: Environments in this process.
        num_blocks: Number of blocks.

    Raises:
        ValueError: If they do not.
    """
    if num_blocks < 1:
        raise ValueError(f"num_blocks={num_blocks} is not allowed; give at least 1")
    if num_envs % num_blocks:
        below = num_envs // num_blocks * num_blocks
        nearest = f"{below} or {below + num_blocks}" if below else f"{num_blocks}"
        raise ValueError(
            f"num_envs={num_envs} does not split into num_blocks={num_blocks} equal blocks; use num_envs={nearest}"
        )


def _check_device(device: str) -> None:
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device={device!r} is unknown; use 'cpu' or 'cuda:0'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} was asked for, but torch sees no CUDA device here; use device='cpu'")
