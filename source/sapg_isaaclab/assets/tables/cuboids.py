"""The sets of cuboids that the AllegroKuka tasks manipulate.

A set holds every ordered triple of candidate scales that passes its rule. Scales are whole percent of a 50 mm edge, so
the rules are exact in integers. Source: official code; the counts are 1, 654, 248 and 45.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BASE_EDGE = 0.05
"""Edge of the cube of scale 100 % [m]."""

DENSITY = 400.0
"""Density of every cuboid [kg/m^3]."""

Scale = tuple[int, int, int]
"""Edges along x, y, z in percent of :data:`BASE_EDGE`."""


@dataclass(frozen=True)
class CuboidRule:
    """Which triples of scales make a set."""

    candidates: tuple[int, ...]
    """Scales an edge may have [%]."""

    volume: tuple[float, float]
    """Smallest and largest volume, in volumes of the base cube."""

    thin_plates: bool = True
    """Whether plates are kept: shapes whose shortest edge is at most a third of the middle one."""

    only_sticks: bool = False
    """Whether only shapes are kept whose longest edge is more than three times each of the others."""

    def keeps(self, scale: Scale) -> bool:
        """Whether a triple belongs to the set."""
        low, mid, high = sorted(scale)
        volume = low * mid * high / 100**3
        if not self.volume[0] <= volume <= self.volume[1]:
            return False
        if not self.thin_plates and 3 * low <= mid:
            return False
        return not self.only_sticks or (high > 3 * low and high > 3 * mid)


CUBOID_SETS: dict[str, CuboidRule] = {
    "default": CuboidRule((100,), (1.0, 1.0)),
    "small": CuboidRule((100, 50, 66, 75, 90, 110, 125, 150, 175, 200, 250, 300), (1.0, 2.5)),
    "big": CuboidRule((100, 125, 150, 200, 250, 300, 350), (2.5, 15.0), thin_plates=False),
    "sticks": CuboidRule((100, 50, 75, 200, 300, 400, 500, 600), (2.5, 6.0), thin_plates=False, only_sticks=True),
}
"""Rule of each set."""


def cuboid_set(name: str) -> list[Scale]:
    """Members of a set.

    Args:
        name: ``"default"``, ``"small"``, ``"big"`` or ``"sticks"``.

    Returns:
        Ordered triples in the order of the candidates, x slowest.

    Raises:
        ValueError: If the set is unknown.
    """
    if name not in CUBOID_SETS:
        raise ValueError(f"object set {name!r} is unknown; use some of {', '.join(CUBOID_SETS)}")
    rule = CUBOID_SETS[name]
    return [scale for scale in itertools.product(rule.candidates, repeat=3) if rule.keeps(scale)]


def object_scales(names: Sequence[str], seed: int = 42) -> list[Scale]:
    """The objects of a task: the members of its sets, shuffled.

    The default cube is the first small cuboid too, and the official code keeps one file of the two; shapes that small
    and big have in common stay twice. So ``default, small, big, sticks`` are 947 objects and ``default, small`` 654.

    Args:
        names: Names of the sets.
        seed: Seed of the shuffle.

    Returns:
        Scales in the order in which environments take them.

    Raises:
        ValueError: If there is no set or one is unknown.
    """
    if not names:
        raise ValueError(f"no object set was given; use some of {', '.join(CUBOID_SETS)}")
    scales = [scale for name in names for scale in cuboid_set(name) if name != "default" or "small" not in names]
    return [scales[index] for index in np.random.default_rng(seed).permutation(len(scales))]


def edges(scale: Scale) -> tuple[float, float, float]:
    """Edges of a cuboid [m]."""
    return tuple(BASE_EDGE * percent / 100 for percent in scale)


def mass(scale: Scale) -> float:
    """Mass of a cuboid [kg]."""
    x, y, z = edges(scale)
    return DENSITY * x * y * z
