"""The scenes of the AllegroKuka tasks. Positions are in the environment frame [m], quaternions xyzw."""

from __future__ import annotations

import isaaclab.sim as sim_utils
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.utils import configclass
from isaaclab_tasks.utils import preset

from sapg_isaaclab.assets.robots import (
    BUCKET_CFG,
    CUBOID_CFG,
    GROUND_CFG,
    KUKA_ALLEGRO_CFG,
    KUKA_ALLEGRO_LEFT_CFG,
    KUKA_ALLEGRO_RIGHT_CFG,
    TABLE_CFG,
    WIDE_TABLE_CFG,
)
from sapg_isaaclab.tasks.physics import DEFAULT_NUM_ENVS

SMALL_NUM_ENVS = 192
"""Environments of ``presets=small``: six blocks of 32."""


@configclass
class AllegroKukaSceneCfg(InteractiveSceneCfg):
    """An arm with a hand, a table, one cuboid per environment, the ground and a light."""

    num_envs: int = preset(default=DEFAULT_NUM_ENVS, small=SMALL_NUM_ENVS, small_recurrent=SMALL_NUM_ENVS)
    env_spacing: float = 2.4
    replicate_physics: bool = True

    robot: ArticulationCfg = KUKA_ALLEGRO_CFG
    """The arm with the hand."""

    object: RigidObjectCfg = CUBOID_CFG
    """The object; its initial position is the nominal start of the task. What is spawned follows from
    ``object_sets``."""

    table: AssetBaseCfg = TABLE_CFG
    """The table."""

    ground = AssetBaseCfg(prim_path="/World/ground", collision_group=-1, spawn=GROUND_CFG)
    """Ground plane at z = 0, common to all environments."""

    light = AssetBaseCfg(prim_path="/World/light", spawn=sim_utils.DomeLightCfg(intensity=2000.0))
    """Light for renderers that read the stage."""


@configclass
class ThrowSceneCfg(AllegroKukaSceneCfg):
    """The same with a bucket."""

    bucket: RigidObjectCfg = BUCKET_CFG
    """The bucket, moved with every goal."""


@configclass
class TwoArmsSceneCfg(AllegroKukaSceneCfg):
    """Two arms that face one another over a wide table; they touch one another, the object and the table."""

    env_spacing: float = 3.5

    robot: ArticulationCfg | None = None
    """None of this name."""

    arm0: ArticulationCfg = KUKA_ALLEGRO_LEFT_CFG
    """The arm at -x."""

    arm1: ArticulationCfg = KUKA_ALLEGRO_RIGHT_CFG
    """The arm at +x."""

    table: AssetBaseCfg = WIDE_TABLE_CFG
    """The table."""
