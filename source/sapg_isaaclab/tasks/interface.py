"""What a robot or another simulator must know to use a policy of these tasks, from the configuration alone.

A description is made of plain values.

``observations``: ``size``, ``clip`` and ``items``, each with ``name``, columns ``start`` to ``stop``, ``meaning``, and
``unit`` and ``frame`` of its value. The columns hold ``(value - offset) * scale``. An item with ``constant`` always has
that value.

``actions``: ``size``, ``clamp`` and ``joints``, in the order of the actions, each with limits [rad], drive and
``mode``. In mode ``position`` an action is the target between the limits, in mode ``velocity`` it is the speed of the
target in parts of ``speed`` [rad/s].
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from typing import Any

from sapg_isaaclab.assets.description import Joint, Robot
from sapg_isaaclab.assets.tables import find_table

ENVIRONMENT = "environment"
"""Origin on the ground below the middle of the scene, z up."""

_DRIVE = {
    "stiffness": "stiffness",
    "damping": "damping",
    "effort_limit": "joint_effort_limit",
    "velocity_limit": "joint_velocity_limit",
    "armature": "armature",
}
"""What a description says of a joint's drive, and where an actuator's configuration has it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """An item of an observation."""

    meaning: str
    """What it is, in words."""

    unit: str = "1"
    """Unit of its value."""

    frame: str | None = None
    """Frame whose axes its value is given in."""

    scale: float | list[float] = 1.0
    """Factor from value to observation."""

    offset: float | list[float] = 0.0
    """Subtracted from the value before that."""

    elements: list[str] | None = None
    """Joints or bodies, in the order in which the item holds their numbers."""

    constant: list[float] | None = None
    """The value, if it is always the same."""


def observations(sizes: dict[str, int], items: dict[str, Item], clip: float) -> dict[str, Any]:
    """Describe an observation.

    Args:
        sizes: Items and their numbers of columns, in order.
        items: Description of every item.
        clip: Largest magnitude of a column.

    Returns:
        Plain values.
    """
    described, start = [], 0
    for name, size in sizes.items():
        fields = {key: value for key, value in dataclasses.asdict(items[name]).items() if value is not None}
        described.append({"name": name, "start": start, "stop": start + size, **fields})
        start += size
    return {"size": start, "clip": clip, "items": described}


def robot_table(robot: Any) -> Robot:
    """Table of facts of a scene's robot.

    Args:
        robot: Configuration of the articulation, which spawns one of our USD files.

    Returns:
        The table.

    Raises:
        ValueError: If it spawns another file.
    """
    table = find_table(pathlib.Path(robot.spawn.usd_path).stem)
    if not isinstance(table, Robot):
        raise ValueError(f"{robot.spawn.usd_path} is not the file of a robot")
    return table


def joints(robot: Any, names: list[str], prefix: str = "") -> list[dict[str, Any]]:
    """Limits and drives of joints.

    Args:
        robot: Configuration of the articulation.
        names: The joints.
        prefix: What their names begin with in the description, where a scene has several such robots.

    Returns:
        Plain values: ``name``, ``lower`` and ``upper`` [rad], ``stiffness`` [N m/rad], ``damping`` [N m s/rad],
        ``effort_limit`` [N m], ``velocity_limit`` [rad/s] and ``armature`` [kg m^2].
    """
    table = {joint.name: joint for joint in robot_table(robot).joints}
    return [_joint(robot, table[name]) | {"name": prefix + name} for name in names]


def _joint(robot: Any, joint: Joint) -> dict[str, Any]:
    (actuator,) = (
        each
        for each in robot.actuators.values()
        if any(re.fullmatch(pattern, joint.name) for pattern in each.joint_names_expr)
    )
    drive = {name: _of_joint(getattr(actuator, field), joint.name) for name, field in _DRIVE.items()}
    return {"name": joint.name, "lower": joint.lower, "upper": joint.upper, **drive}


def _of_joint(value: Any, name: str) -> float | None:
    """Value for a joint: one for all, or the one of the pattern that fits its name."""
    if isinstance(value, dict):
        return next((each for pattern, each in value.items() if re.fullmatch(pattern, name)), None)
    return value


def joint_position_item(described: list[dict[str, Any]], meaning: str = "joint positions") -> Item:
    """The item that both families of tasks have: joint positions between the limits.

    Args:
        described: What :func:`joints` returned.
        meaning: What positions they are.

    Returns:
        The item: -1 at the lower limit, 1 at the upper one.
    """
    return Item(
        meaning=f"{meaning}; columns are -1 at the lower limit and 1 at the upper one",
        unit="rad",
        offset=[(joint["lower"] + joint["upper"]) / 2.0 for joint in described],
        scale=[2.0 / (joint["upper"] - joint["lower"]) for joint in described],
        elements=[joint["name"] for joint in described],
    )


def common(cfg: Any, robots: tuple[str, ...] = ("robot",)) -> dict[str, Any]:
    """What tasks of this package say alike.

    Args:
        cfg: Configuration of the environment.
        robots: Names of the robots in its scene.

    Returns:
        ``control_hz`` and ``frames``: the environment's, with the pose of each robot's base, such as ``robot_base``.
    """
    poses = {name: getattr(cfg.scene, name).init_state for name in robots}
    return {
        "control_hz": 1.0 / (cfg.sim.dt * cfg.decimation),
        "frames": {
            ENVIRONMENT: {
                "meaning": "origin on the ground in the middle of the scene, z up; quaternions are xyzw",
                **{f"{name}_base": {"pos": list(pose.pos), "quat": list(pose.rot)} for name, pose in poses.items()},
            }
        },
    }
