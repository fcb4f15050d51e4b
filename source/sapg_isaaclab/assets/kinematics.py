"""Rigid transforms and forward kinematics of the tables, in plain numpy (float64).

A pose is ``(position (3,), quaternion (4,) xyzw)``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sapg_isaaclab.assets.description import Robot

Pose = tuple[np.ndarray, np.ndarray]


def quat_mul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product of two quaternions (4,) xyzw: rotate by ``b`` first, then by ``a``."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotate a vector (3,) by a unit quaternion (4,) xyzw."""
    axis, w = quat[:3], quat[3]
    return vector + 2.0 * np.cross(axis, np.cross(axis, vector) + w * vector)


def quat_from_axis_angle(axis: np.ndarray, angle: float) -> np.ndarray:
    """Quaternion (4,) xyzw of a rotation by ``angle`` [rad] about ``axis`` (3,), of any length but zero."""
    axis = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    return np.append(np.sin(angle / 2.0) * axis, np.cos(angle / 2.0))


def quat_from_rpy(rpy: tuple[float, float, float]) -> np.ndarray:
    """Quaternion (4,) xyzw of URDF roll, pitch, yaw [rad]: R_z(yaw) R_y(pitch) R_x(roll)."""
    roll, pitch, yaw = (quat_from_axis_angle(axis, angle) for axis, angle in zip(np.eye(3), rpy))
    return quat_mul(yaw, quat_mul(pitch, roll))


def quat_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Shortest rotation (4,) xyzw that turns the direction ``start`` (3,) into the direction ``end`` (3,)."""
    start = np.asarray(start, dtype=float) / np.linalg.norm(start)
    end = np.asarray(end, dtype=float) / np.linalg.norm(end)
    w = 1.0 + start @ end
    if w < 1e-12:  # opposite directions: half a turn about any axis across them
        return quat_from_axis_angle(np.cross(start, np.eye(3)[np.argmin(np.abs(start))]), np.pi)
    quat = np.append(np.cross(start, end), w)
    return quat / np.linalg.norm(quat)


def compose(parent: Pose, child: Pose) -> Pose:
    """Pose in the world of a pose given in ``parent``."""
    return parent[0] + rotate(parent[1], child[0]), quat_mul(parent[1], child[1])


def attachment(robot: Robot, name: str) -> tuple[str, Pose]:
    """Resolve a body or frame name to ``(body, pose in that body)``.

    Raises:
        KeyError: If the robot has neither a body nor a frame of that name.
    """
    if any(body.name == name for body in robot.bodies):
        return name, (np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    frame = {frame.name: frame for frame in robot.frames}[name]
    body, pose = attachment(robot, frame.parent)
    return body, compose(pose, (np.asarray(frame.xyz, dtype=float), quat_from_rpy(frame.rpy)))


def forward_kinematics(
    robot: Robot, joint_pos: Mapping[str, float] | None = None, root_pose: Pose | None = None
) -> dict[str, Pose]:
    """Poses of all bodies and frames.

    Args:
        robot: The table.
        joint_pos: Joint angles by name [rad]; joints left out are at 0. Limits are not applied.
        root_pose: Pose of the base body. Defaults to the identity.

    Returns:
        Pose by body or frame name.

    Raises:
        KeyError: If ``joint_pos`` names a joint the robot does not have.
    """
    joint_pos = dict(joint_pos or {})
    unknown = joint_pos.keys() - {joint.name for joint in robot.joints}
    if unknown:
        raise KeyError(f"{robot.name} has no joint {sorted(unknown)}")
    if root_pose is None:
        root_pose = (np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    poses = {robot.bodies[0].name: root_pose}
    for joint in robot.joints:
        body, offset = attachment(robot, joint.parent)
        origin = (np.asarray(joint.xyz, dtype=float), quat_from_rpy(joint.rpy))
        turn = (np.zeros(3), quat_from_axis_angle(joint.axis, joint_pos.get(joint.name, 0.0)))
        poses[joint.child] = compose(compose(compose(poses[body], offset), origin), turn)
    for frame in robot.frames:
        body, offset = attachment(robot, frame.name)
        poses[frame.name] = compose(poses[body], offset)
    return poses
