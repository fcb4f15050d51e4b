"""What policies of the in-hand tasks see and do; see :mod:`sapg_isaaclab.tasks.interface`."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.tasks import interface
from sapg_isaaclab.tasks.in_hand.env_cfg import InHandReorientEnvCfg
from sapg_isaaclab.tasks.interface import ENVIRONMENT, Item


def describe(cfg: InHandReorientEnvCfg, sizes: dict[str, int]) -> dict[str, Any]:
    """Describe observations and actions.

    Args:
        cfg: Configuration of the environment.
        sizes: Items of the observation and their sizes, in order.

    Returns:
        Plain values.
    """
    actuated = interface.joints(cfg.scene.robot, cfg.actuated_joint_names)
    mapping = {"mode": "position", "smoothing": cfg.action_smoothing}
    return {
        **interface.common(cfg),
        "observations": interface.observations(sizes, _items(cfg), cfg.obs_clip),
        "actions": {
            "size": len(actuated),
            "clamp": [-1.0, 1.0],
            "joints": [{**joint, **mapping} for joint in actuated],
        },
    }


def _items(cfg: InHandReorientEnvCfg) -> dict[str, Item]:
    joints, tips = cfg.joint_names, cfg.fingertip_body_names
    start = cfg.scene.object.init_state.pos
    goal = [value + offset for value, offset in zip(start, cfg.goal_offset)]
    unmeasured = [0.0] * len(joints) if cfg.joint_force_obs == "zero" else None
    return {
        "joint_pos": interface.joint_position_item(interface.joints(cfg.scene.robot, joints)),
        "joint_targets": interface.joint_position_item(
            interface.joints(cfg.scene.robot, cfg.actuated_joint_names), "targets of the joints' drives"
        ),
        "joint_vel": Item(meaning="joint velocities", unit="rad/s", scale=cfg.vel_obs_scale, elements=joints),
        "joint_force": Item(
            meaning="torques about the joints" if unmeasured is None else "joint forces, which are not measured",
            unit="N m",
            scale=cfg.force_obs_scale,
            elements=joints,
            constant=unmeasured,
        ),
        "object_pos": Item(meaning="position of the object", unit="m", frame=ENVIRONMENT),
        "object_quat": Item(meaning="orientation of the object, xyzw", frame=ENVIRONMENT),
        "object_lin_vel": Item(meaning="velocity of the object's centre of mass", unit="m/s", frame=ENVIRONMENT),
        "object_ang_vel": Item(
            meaning="angular velocity of the object", unit="rad/s", frame=ENVIRONMENT, scale=cfg.vel_obs_scale
        ),
        "goal_pos": Item(meaning="position of the goal", unit="m", frame=ENVIRONMENT, constant=goal),
        "goal_quat": Item(meaning="orientation of the goal, xyzw", frame=ENVIRONMENT),
        "goal_rotation": Item(meaning="q_object q_goal^-1, xyzw", frame=ENVIRONMENT),
        "fingertip_pos": Item(
            meaning="origins of the last links, x y z of each", unit="m", frame=ENVIRONMENT, elements=tips
        ),
        "fingertip_state": Item(
            meaning="of each last link: position [m] and quaternion xyzw of its frame, which is at its joint, velocity"
            " [m/s] and angular velocity [rad/s] of its centre of mass",
            unit="mixed",
            frame=ENVIRONMENT,
            elements=tips,
        ),
        "fingertip_wrench": Item(
            meaning="force [N] and torque [N m] that the last joint passes to each last link",
            unit="mixed",
            frame="joint",
            scale=cfg.force_obs_scale,
            elements=tips,
        ),
        "actions": Item(
            meaning="actions of the step before, clamped; 0 before the first", elements=cfg.actuated_joint_names
        ),
    }
