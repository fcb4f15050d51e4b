"""What policies and critics of the AllegroKuka tasks see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sapg_isaaclab.tasks.allegro_kuka.env_cfg import AllegroKukaEnvCfg
from sapg_isaaclab.tasks.allegro_kuka.goals import GOALS
from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoints

if TYPE_CHECKING:
    from sapg_isaaclab.tasks.allegro_kuka.env import AllegroKukaEnv


def layout(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    """Items of the policy's observation and their sizes, in order.

    Args:
        cfg: Configuration of the environment.

    Returns:
        Name -> size. Joint positions and targets are normalised to [-1, 1] by the limits; velocities are in rad/s and
        m/s, positions in m, quaternions xyzw. Closest distances and the lifted flag are those before the last step.

    Raises:
        ValueError: If ``cfg.policy_items`` has an unknown item.
    """
    official = _official(cfg)
    if not cfg.asymmetric:
        return official
    known = official | {"joint_targets": len(cfg.joint_names), "actions": len(cfg.joint_names)}
    unknown = [name for name in cfg.policy_items if name not in known]
    if unknown or not cfg.policy_items:
        raise ValueError(f"policy_items={cfg.policy_items} is not allowed; use some of {', '.join(known)}")
    return {name: known[name] for name in cfg.policy_items}


def state_layout(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    """Items of what the critic sees where that is something else, as :func:`layout` has them.

    Args:
        cfg: Configuration of the environment.

    Returns:
        Name -> size: the official observation; empty unless ``cfg.asymmetric``.
    """
    return _official(cfg) if cfg.asymmetric else {}


def _official(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
    keypoint_size = 3 * len(GOALS[type(cfg.goal)].corners)
    return {
        "joint_pos": len(cfg.joint_names),
        "joint_vel": len(cfg.joint_names),
        "palm_pos": 3,
        "palm_quat": 4,
        "palm_lin_vel": 3,
        "palm_ang_vel": 3,
        "object_quat": 4,
        "object_lin_vel": 3,
        "object_ang_vel": 3,
        "tips_from_palm": 12,
        "keypoints_from_palm": keypoint_size,
        "keypoints_from_goal": keypoint_size,
        "object_scale": 3,
        "closest_keypoint": 1,
        "closest_tip": 4,
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
    palm, palm_vel = measured.palm_pos.unsqueeze(1), measured.palm_vel
    closest_keypoint = torch.where(env.shown_keypoint < 0.0, measured.keypoint_distance, env.shown_keypoint)
    return {
        "joint_pos": _between_limits(env, env.joint_pos),
        "joint_vel": env.joint_vel,
        "palm_pos": measured.palm_pos,
        "palm_quat": measured.palm_quat,
        "palm_lin_vel": palm_vel[:, :3],
        "palm_ang_vel": palm_vel[:, 3:],
        "object_quat": env.object_quat,
        "object_lin_vel": object_data.root_lin_vel_w.torch,
        "object_ang_vel": object_data.root_ang_vel_w.torch,
        "tips_from_palm": (measured.tips - palm).flatten(1),
        "keypoints_from_palm": (measured.keypoints - palm).flatten(1),
        "keypoints_from_goal": measured.keypoints_from_goal.flatten(1),
        "object_scale": env.object_scale,
        "closest_keypoint": closest_keypoint.unsqueeze(-1),
        "closest_tip": torch.where(env.shown_tip < 0.0, measured.tip_distance, env.shown_tip),
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
        "keypoints_from_palm": (points - env.measured.palm_pos.unsqueeze(1)).flatten(1),
        "keypoints_from_goal": (points - goals).flatten(1),
    }
    return [known[name] for name in env.cfg.policy_items]


def _between_limits(env: AllegroKukaEnv, joint_pos: torch.Tensor) -> torch.Tensor:
    """Joint positions [rad], shape (N, 23), as -1 at the lower limit and 1 at the upper one."""
    center, half_range = (env.joint_upper + env.joint_lower) / 2.0, (env.joint_upper - env.joint_lower) / 2.0
    return (joint_pos - center) / half_range
