"""Tables of facts, one file per robot or family of objects."""

from sapg_isaaclab.assets.description import Ground, RigidObject, Robot
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.bucket import BUCKET
from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE, GROUND, SHADOW_CUBE
from sapg_isaaclab.assets.tables.shadow_hand import SHADOW_HAND

ALL_TABLES = (ALLEGRO_HAND, ALLEGRO_CUBE, GROUND, KUKA_ALLEGRO, BUCKET, SHADOW_HAND, SHADOW_CUBE)
"""Every table that becomes a USD file."""


def find_table(name: str) -> Robot | RigidObject | Ground:
    """Look up a table.

    Args:
        name: Name of the asset.

    Returns:
        The table.

    Raises:
        ValueError: If there is none of that name.
    """
    tables = {table.name: table for table in ALL_TABLES}
    if name not in tables:
        raise ValueError(f"asset {name!r} is unknown; the assets are {', '.join(tables)}")
    return tables[name]
