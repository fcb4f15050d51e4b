"""The bucket of the Throw task.

The official bucket is a tapered twelve-sided mesh. Each side is a box here, leaning outwards by 10.1 degrees; together
they fill 96.6 % of the mesh's walls and 0.4 % of its cavity.
"""

from __future__ import annotations

import math

from sapg_isaaclab.assets.description import Body, Box, Cylinder, RigidObject, Vec3

COLOR: Vec3 = (0.02, 0.10, 0.35)
RIM_COLOR: Vec3 = (0.03, 0.16, 0.50)
FLOOR_COLOR: Vec3 = (0.01, 0.05, 0.18)

NUM_WALLS = 12
AXIS_Y = -0.002
"""The bucket's axis passes through (0, AXIS_Y) of its frame [m]."""

WALL_RADIUS = 0.0903
"""Distance of a wall's centre from the axis [m]."""

WALL_HALF: Vec3 = (0.00705, 0.0315, 0.1004)
"""Half extents of a wall: radial, tangential, up [m]."""

WALL_LEAN = math.radians(10.1)
"""Angle between a wall and the axis [rad]."""

GOAL_HEIGHT = 0.05
"""Height of the goal point above the bucket's origin, the centre of its bottom [m]."""


def _wall(index: int) -> Box:
    angle = math.radians(15.0 + 360.0 / NUM_WALLS * index)
    center = (WALL_RADIUS * math.cos(angle), WALL_RADIUS * math.sin(angle) + AXIS_Y, 0.0989)
    # every other wall is lighter, so that a person sees that it is round
    return Box(center, WALL_HALF, RIM_COLOR if index % 2 else COLOR, rpy=(0.0, WALL_LEAN, angle))


BUCKET = RigidObject(
    "bucket",
    Body(
        "bucket",
        # held where it is put: mass and inertia have no effect
        mass=1.0,
        com=(0.0, AXIS_Y, 0.1),
        inertia=(0.01, 0.01, 0.01),
        shapes=(
            *(_wall(index) for index in range(NUM_WALLS)),
            Cylinder((0.0, AXIS_Y, 0.005), radius=0.080, half_length=0.005, color=FLOOR_COLOR),
        ),
    ),
)
"""The bucket, 0.1977 m high, 0.16 m wide at the bottom and 0.24 m at the top. Frame: centre of its bottom."""
