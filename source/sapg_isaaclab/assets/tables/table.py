"""The tables of the AllegroKuka tasks, with one arm and with two (official code)."""

from sapg_isaaclab.assets.description import Vec3

TABLE_SIZE: Vec3 = (0.475, 0.4, 0.3)
"""Edges of the box where there is one arm [m]."""

WIDE_TABLE_SIZE: Vec3 = (1.1, 0.4, 0.3)
"""Edges of the box between two arms [m]."""

TABLE_CENTER: Vec3 = (0.0, 0.0, 0.38)
"""Centre of the box in the environment frame [m]; its top is at 0.53 m."""

TABLE_COLOR: Vec3 = (0.20, 0.11, 0.05)
