"""What policies and critics of the AllegroKuka tasks see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sapg_isaaclab.tasks.allegro_kuka.env_cfg import AllegroKukaEnvCfg
from sapg_isaaclab.tasks.allegro_kuka.goals import GOALS
from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoints

if TYPE_CHECKING:
    from sapg_isaaclab.tasks.allegro_kuka.env import AllegroKukaEnv

PALM_ITEMS = {"palm_quat": 4, "palm_lin_vel": 3, "palm_ang_vel": 3}
"""What observations hold arm after arm, all three of one before those of the next; all else is item after item."""


def layout(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    """Items of the policy's observation and their sizes, in order.

    Args:
        cfg: Configuration of the environment.

    Returns:
        Name -> size. Joint positions and targets are normalised to [-1, 1] by the limits; velocities are in rad/s and
        m/s, positions in m, quaternions xyzw. Closest distances and the lifted flag are those before the last step.
        Numbers of several arms follow one another, and their :data:`PALM_ITEMS` are items of their own.

    Raises:
        ValueError: If ``cfg.policy_items`` has an unknown item.
    """
    official = _official(cfg)
    if not cfg.asymmetric:
        return official
    joints = len(cfg.arms) * len(cfg.joint_names)
    known = official | {"joint_targets": joints, "actions": joints}
    names = policy_names(cfg)
    if not names or any(name not in known for name in names):
        raise ValueError(f"policy_items={cfg.policy_items} is not allowed; use some of {', '.join(known)}")
    return {name: known[name] for name in names}


def policy_names(cfg: AllegroKukaEnvCfg) -> list[str]:
    """Items of an asymmetric policy, in order.

    Args:
        cfg: Configuration of the environment.

    Returns:
        ``cfg.policy_items``, where an item of :data:`PALM_ITEMS` stands for that of each arm.
    """
    prefixes = cfg.arm_prefixes()
    parts = [[f"{prefix}{name}" for prefix in prefixes] if name in PALM_ITEMS else [name] for name in cfg.policy_items]
    return [name for part in parts for name in part]


def state_layout(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    """Items of what the critic sees where that is something else, as :func:`layout` has them.

    Args:
        cfg: Configuration of the environment.

    Returns:
        Name -> size: the official observation; empty unless ``cfg.asymmetric``.
    """
    return _official(cfg) if cfg.asymmetric else {}


def _official(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    arms, keypoint_size = len(cfg.arms), 3 * len(GOALS[type(cfg.goal)].corners)
    return {
        "joint_pos": arms * len(cfg.joint_names),
        "joint_vel": arms * len(cfg.joint_names),
        "palm_pos": arms * 3,
        **{f"{prefix}{name}": size for prefix in cfg.arm_prefixes() for name, size in PALM_ITEMS.items()},
        "object_quat": 4,
        "object_lin_vel": 3,
        "object_ang_vel": 3,
        "tips_from_palm": arms * 12,
        "keypoints_from_palm": arms * keypoint_size,
        "keypoints_from_goal": keypoint_size,
        "object_scale": 3,
        "closest_keypoint": 1,
        **({"closest_tip": arms * 4} if cfg.observe_closest_tip else {}),
        "lifted": 1,
        "progress": 1,
        "successes": 1,
        "reward": 1,
    }


def items(env: AllegroKukaEnv) -> dict[str, torch.Tensor]:
    """Values of the official observation's items as things are now.

    Args:
        env: The environment; its measurements are up to date.

    Returns:
        Name -> values, shape (N, size), in the official order.
    """
    measured, object_data = env.measured, env.object.data
    palms = {}
    for prefix, quat, vel in zip(env.cfg.arm_prefixes(), measured.palm_quat.unbind(1), measured.palm_vel.unbind(1)):
        values = zip(PALM_ITEMS, (quat, vel[:, :3], vel[:, 3:]))
        palms |= {f"{prefix}{name}": value for name, value in values}
    closest_keypoint = torch.where(env.shown_keypoint < 0.0, measured.keypoint_distance, env.shown_keypoint)
    closest_tip = {}
    if env.cfg.observe_closest_tip:
        closest_tip["closest_tip"] = torch.where(env.shown_tip < 0.0, measured.tip_distance, env.shown_tip)
    return {
        "joint_pos": _between_limits(env, env.joint_pos),
        "joint_vel": env.joint_vel,
        "palm_pos": measured.palm_pos.flatten(1),
        **palms,
        "object_quat": env.object_quat,
        "object_lin_vel": object_data.root_lin_vel_w.torch,
        "object_ang_vel": object_data.root_ang_vel_w.torch,
        "tips_from_palm": measured.tips_from_palm.flatten(1),
        "keypoints_from_palm": measured.from_palms(measured.keypoints).flatten(1),
        "keypoints_from_goal": measured.keypoints_from_goal.flatten(1),
        "object_scale": env.object_scale,
        "closest_keypoint": closest_keypoint.unsqueeze(-1),
        **closest_tip,
        "lifted": env.shown_lifted.float().unsqueeze(-1),
        "progress": (env.episode_length_buf / 10.0).log1p().unsqueeze(-1),
        "successes": env.successes.log1p().unsqueeze(-1),
        "reward": env.cfg.reward_obs_scale * env.last_reward.unsqueeze(-1),
    }


def policy_items(env: AllegroKukaEnv, official: dict[str, torch.Tensor], pose: torch.Tensor) -> list[torch.Tensor]:
    """Values of the items of an asymmetric policy as far as it can know them.

    Args:
        env: The environment; its measurements are up to date.
        official: What :func:`items` returned.
        pose: Position [m] and orientation of the objects, as they are estimated. Shape (N, 7).

    Returns:
        Values, shape (N, size) each, in the order of :func:`layout`.
    """
    points = keypoints(pose[:, :3], pose[:, 3:], env.measured.offsets)
    goals = keypoints(env.goal_pos, env.goal_quat, env.measured.offsets)
    known = official | {
        "joint_targets": _between_limits(env, env.targets),
        "actions": env.actions,
        "object_quat": pose[:, 3:],
        "keypoints_from_palm": env.measured.from_palms(points).flatten(1),
        "keypoints_from_goal": (points - goals).flatten(1),
    }
    return [known[name] for name in policy_names(env.cfg)]


def _between_limits(env: AllegroKukaEnv, joint_pos: torch.Tensor) -> torch.Tensor:
    """Joint positions [rad], shape (N, A J), as -1 at the lower limit and 1 at the upper one."""
    lower, upper = env.arms.lower, env.arms.upper
    center, half_range = (upper + lower) / 2.0, (upper - lower) / 2.0
    return (joint_pos - center) / half_range
