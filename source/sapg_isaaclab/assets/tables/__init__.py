"""Tables of facts, one file per robot or family of objects."""

from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE, GROUND

ALL_TABLES = (ALLEGRO_HAND, ALLEGRO_CUBE, GROUND)
"""Every table that becomes a USD file."""
