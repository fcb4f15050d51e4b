"""Refuses configurations of the AllegroKuka tasks that have no meaning."""

from __future__ import annotations

from isaaclab.assets import ArticulationCfg

from sapg_isaaclab.tasks.allegro_kuka.env_cfg import AllegroKukaEnvCfg, ThrowGoalCfg
from sapg_isaaclab.tasks.allegro_kuka.goals import GOALS


def check(cfg: AllegroKukaEnvCfg) -> None:
    """Check what the annotations cannot say.

    Args:
        cfg: Configuration of the environment.

    Raises:
        ValueError: If a value is unknown or out of range, or the goal does not suit the scene.
    """
    choices = {
        "arm_mode": (cfg.arm_mode, ("velocity", "position")),
        "hold": (cfg.hold, ("cumulative", "consecutive")),
        "force_mass": (cfg.force_mass, ("env0", "per_object")),
        "curriculum.gate": (cfg.curriculum.gate, ("all", "leader", "block")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is unknown; use {' or '.join(map(repr, allowed))}")
    if cfg.max_shapes is not None and cfg.max_shapes < 1:
        raise ValueError(f"max_shapes={cfg.max_shapes} is not allowed; use at least 1, or None for all")
    if cfg.hold_steps < 1:
        raise ValueError(f"hold_steps={cfg.hold_steps} is not allowed; use at least 1")
    if type(cfg.goal) not in GOALS:
        raise ValueError(f"goal={cfg.goal!r} is unknown; use a RegraspGoalCfg, ThrowGoalCfg or ReorientGoalCfg")
    known = [name for name, part in vars(cfg.scene).items() if isinstance(part, ArticulationCfg)]
    if not cfg.arms or len(set(cfg.arms)) < len(cfg.arms) or not set(cfg.arms) <= set(known):
        raise ValueError(f"arms={cfg.arms} is not allowed; use some of the scene's: {', '.join(known)}")
    joints = len(cfg.arms) * len(cfg.joint_names)
    if cfg.action_space != joints:
        raise ValueError(f"action_space={cfg.action_space} is not allowed; this scene's arms have {joints} joints")
    if cfg.reset_side < 0.0:
        raise ValueError(f"reset_side={cfg.reset_side} is not allowed; use 0 or more")
    if isinstance(cfg.goal, ThrowGoalCfg) and not hasattr(cfg.scene, "bucket"):
        raise ValueError("a ThrowGoalCfg needs a bucket; use a ThrowSceneCfg as scene")
