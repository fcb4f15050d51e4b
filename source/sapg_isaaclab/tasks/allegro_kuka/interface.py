"""What policies of the AllegroKuka tasks see and do; see :mod:`sapg_isaaclab.tasks.interface`."""

from __future__ import annotations

from typing import Any

from sapg_isaaclab.assets.tables.cuboids import BASE_EDGE
from sapg_isaaclab.tasks import interface
from sapg_isaaclab.tasks.allegro_kuka.env_cfg import AllegroKukaEnvCfg
from sapg_isaaclab.tasks.interface import ENVIRONMENT, Item

_PALM = {
    "palm_quat": Item(meaning="orientation of the palm's link iiwa7_link_7, xyzw", frame=ENVIRONMENT),
    "palm_lin_vel": Item(meaning="velocity of that link's centre of mass", unit="m/s", frame=ENVIRONMENT),
    "palm_ang_vel": Item(meaning="angular velocity of that link", unit="rad/s", frame=ENVIRONMENT),
}
"""What is said of each palm by itself."""


def describe(cfg: AllegroKukaEnvCfg, sizes: dict[str, int]) -> dict[str, Any]:
    """Describe observations and actions.

    Args:
        cfg: Configuration of the environment.
        sizes: Items of the observation and their sizes, in order.

    Returns:
        Plain values.
    """
    prefixes = cfg.arm_prefixes()
    joints = [
        joint
        for name, prefix in zip(cfg.arms, prefixes)
        for joint in interface.joints(getattr(cfg.scene, name), cfg.joint_names, prefix)
    ]
    hand = {"mode": "position", "smoothing": cfg.action_smoothing}
    arm = {"mode": "velocity", "speed": cfg.arm_speed} if cfg.arm_mode == "velocity" else hand
    modes = [*[arm] * cfg.num_arm_joints, *[hand] * (len(cfg.joint_names) - cfg.num_arm_joints)] * len(cfg.arms)
    return {
        **interface.common(cfg, cfg.arms),
        "observations": interface.observations(sizes, _items(cfg, joints), cfg.obs_clip),
        "actions": {
            "size": len(joints),
            "clamp": [-1.0, 1.0],
            "joints": [{**joint, **mode} for joint, mode in zip(joints, modes)],
        },
    }


def _items(cfg: AllegroKukaEnvCfg, joints: list[dict[str, Any]]) -> dict[str, Item]:
    prefixes, names = cfg.arm_prefixes(), [joint["name"] for joint in joints]
    fingers = [f"{prefix}{finger}" for prefix in prefixes for finger in ("index", "middle", "ring", "thumb")]
    palms = None if len(cfg.arms) == 1 else [f"{prefix}palm" for prefix in prefixes]
    point = {"unit": "m", "frame": ENVIRONMENT}
    return {
        "joint_pos": interface.joint_position_item(joints),
        "joint_targets": interface.joint_position_item(joints, "targets of the joints' drives"),
        "joint_vel": Item(meaning="joint velocities", unit="rad/s", elements=names),
        "palm_pos": Item(meaning="centre of the palm", elements=palms, **point),
        **{f"{prefix}{name}": item for prefix in prefixes for name, item in _PALM.items()},
        "object_quat": Item(meaning="orientation of the object, xyzw", frame=ENVIRONMENT),
        "object_lin_vel": Item(meaning="velocity of the object's centre of mass", unit="m/s", frame=ENVIRONMENT),
        "object_ang_vel": Item(meaning="angular velocity of the object", unit="rad/s", frame=ENVIRONMENT),
        "tips_from_palm": Item(
            meaning="fingertip points minus centre of their palm, x y z of each", elements=fingers, **point
        ),
        "keypoints_from_palm": Item(
            meaning="keypoints of the object minus centre of the palm, x y z of each", elements=palms, **point
        ),
        "keypoints_from_goal": Item(meaning="keypoints of the object minus those of the goal, x y z of each", **point),
        "object_scale": Item(meaning="edges of the object along its axes", unit="m", scale=1.0 / BASE_EDGE),
        "closest_keypoint": Item(
            meaning="smallest value that the largest distance of a keypoint from its goal had since the goal appeared,"
            " before this step",
            unit="m",
        ),
        "closest_tip": Item(
            meaning="smallest distance of each fingertip from the object since the episode began, before this step",
            unit="m",
            elements=fingers,
        ),
        "lifted": Item(meaning="1 if the object was lifted in this episode, before this step, else 0"),
        "progress": Item(meaning="ln(1 + n / 10), n control steps since the episode began or a goal was reached"),
        "successes": Item(meaning="ln(1 + n), n goals reached in this episode"),
        "actions": Item(meaning="actions of the step before, clamped; 0 before the first", elements=names),
        "reward": Item(meaning="reward of the last step; 0 before the first", scale=cfg.reward_obs_scale),
    }
