"""Isaac Lab configurations of the shipped robots and objects.

Engine settings that are not facts about the robot live here: solver iterations, damping, offsets. They are the official
code's: TGS with 8 position and no velocity iterations, contact offset 2 mm, rest offset 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import isaaclab.sim as sim_utils
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from isaaclab.sim.schemas import MassCfg, UsdPhysicsRigidBodyCfg
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg, NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg, PhysxCollisionCfg, PhysxRigidBodyCfg

from sapg_isaaclab.assets.generate import DATA_DIR
from sapg_isaaclab.assets.tables import cuboids
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.allegro_hand import DRIVE as ALLEGRO_DRIVE
from sapg_isaaclab.assets.tables.bucket import BUCKET
from sapg_isaaclab.assets.tables.kuka_allegro import ARM_DRIVE, HAND_DRIVE, KUKA_ALLEGRO
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE, GROUND, SHADOW_CUBE
from sapg_isaaclab.assets.tables.shadow_hand import FINGERS, SHADOW_HAND
from sapg_isaaclab.assets.tables.table import TABLE_CENTER, TABLE_COLOR, TABLE_SIZE, WIDE_TABLE_SIZE

ALLEGRO_JOINT_NAMES = [joint.name for joint in ALLEGRO_HAND.joints]
"""The 16 joints in the order of actions and observations: index, middle, ring, thumb, each from the palm outwards."""

KUKA_ALLEGRO_JOINT_NAMES = [joint.name for joint in KUKA_ALLEGRO.joints]
"""The 23 joints in the order of actions and observations: arm from the base, then index, middle, ring, thumb."""

SHADOW_JOINT_NAMES = [joint.name for joint in SHADOW_HAND.joints]
"""The 24 joints in the order of observations: wrist, first to little finger, thumb, each from the palm outwards."""

SHADOW_MOTOR_NAMES = [joint.name for joint in SHADOW_HAND.joints if joint.drive.stiffness > 0.0]
"""The 20 joints with a motor in the order of actions."""

SHADOW_FINGERTIP_NAMES = [*(f"{finger}distal" for finger in FINGERS), "thdistal"]
"""The five outermost links: first, middle, ring, little finger, thumb. Their frames are at the last joint."""

CONTACT = PhysxCollisionCfg(contact_offset=0.002, rest_offset=0.0)
"""PhysX starts to make contacts at 2 mm and lets shapes rest at 0."""


def usd_path(name: str) -> str:
    """Path of a generated asset.

    Args:
        name: Name of the table.

    Returns:
        Absolute path of its USD file.
    """
    return str(DATA_DIR / f"{name}.usda")


ALLEGRO_HAND_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=sim_utils.UsdFileCfg(
        usd_path=usd_path(ALLEGRO_HAND.name),
        rigid_props=[
            # PhysX and MuJoCo each read their own switch; both are needed for a weightless hand on both
            PhysxRigidBodyCfg(
                disable_gravity=True,
                linear_damping=0.0,
                angular_damping=0.01,
                max_linear_velocity=1000.0,
                max_angular_velocity=math.degrees(64.0),
                max_depenetration_velocity=1000.0,
                enable_gyroscopic_forces=True,
            ),
            MujocoRigidBodyCfg(gravcomp=1.0),
        ],
        articulation_props=[
            PhysxArticulationCfg(
                enabled_self_collisions=True,
                solver_position_iteration_count=8,
                solver_velocity_iteration_count=0,
                sleep_threshold=0.0,
            ),
            NewtonArticulationCfg(self_collision_enabled=True),
        ],
        collision_props=CONTACT,
    ),
    # the official root rotation R_y(pi) R_x(0.47 pi) R_z(0.25 pi): palm up, fingers towards -y
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.5),
        rot=(0.28304457, 0.68333003, -0.62178249, 0.25755074),
        # 0, clamped to the limits: the thumb's first joint starts at its lower one
        joint_pos={joint.name: min(max(0.0, joint.lower), joint.upper) for joint in ALLEGRO_HAND.joints},
    ),
    actuators={
        "hand": ImplicitActuatorCfg(
            joint_names_expr=[".*"],
            stiffness=ALLEGRO_DRIVE.stiffness,
            damping=ALLEGRO_DRIVE.damping,
            joint_effort_limit=ALLEGRO_DRIVE.effort,
            joint_velocity_limit=ALLEGRO_DRIVE.velocity,
            friction=ALLEGRO_DRIVE.friction,
            armature=ALLEGRO_DRIVE.armature,
        )
    },
)
"""Allegro hand, palm up at 0.5 m, drives of the official in-hand task."""


ALLEGRO_CUBE_CFG = RigidObjectCfg(
    prim_path="{ENV_REGEX_NS}/Object",
    spawn=sim_utils.UsdFileCfg(
        usd_path=usd_path(ALLEGRO_CUBE.name),
        rigid_props=PhysxRigidBodyCfg(
            disable_gravity=False,
            linear_damping=0.0,
            angular_damping=0.5,
            max_linear_velocity=1000.0,
            max_angular_velocity=math.degrees(64.0),
            max_depenetration_velocity=1000.0,
            enable_gyroscopic_forces=True,
            solver_position_iteration_count=8,
            solver_velocity_iteration_count=0,
            sleep_threshold=0.0,  # a cube turned slowly must not fall asleep
        ),
        collision_props=CONTACT,
    ),
    init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, -0.2, 0.56), rot=(0.0, 0.0, 0.0, 1.0)),
)
"""65 mm cube of 0.10985 kg above the Allegro hand's palm."""


SHADOW_HAND_CFG = ALLEGRO_HAND_CFG.replace(
    spawn=ALLEGRO_HAND_CFG.spawn.replace(usd_path=usd_path(SHADOW_HAND.name)),
    # the MJCF's rotation of the mount: palm up, fingers towards -y
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.5), rot=(0.0, -math.sqrt(0.5), math.sqrt(0.5), 0.0), joint_pos={".*": 0.0}
    ),
    actuators={
        "hand": ImplicitActuatorCfg(
            joint_names_expr=[".*"],
            stiffness={joint.name: joint.drive.stiffness for joint in SHADOW_HAND.joints},
            damping={joint.name: joint.drive.damping for joint in SHADOW_HAND.joints},
            joint_effort_limit={joint.name: joint.drive.effort for joint in SHADOW_HAND.joints},
            joint_velocity_limit={joint.name: joint.drive.velocity for joint in SHADOW_HAND.joints},
            friction={joint.name: joint.drive.friction for joint in SHADOW_HAND.joints},
            armature={joint.name: joint.drive.armature for joint in SHADOW_HAND.joints},
        )
    },
)
"""Shadow hand, palm up at 0.5 m, position servos of the official task."""


SHADOW_CUBE_CFG = ALLEGRO_CUBE_CFG.replace(
    spawn=ALLEGRO_CUBE_CFG.spawn.replace(usd_path=usd_path(SHADOW_CUBE.name)),
    init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, -0.39, 0.60), rot=(0.0, 0.0, 0.0, 1.0)),
)
"""50 mm cube of 0.070875 kg above the Shadow hand's fingers."""


GROUND_CFG = sim_utils.UsdFileCfg(usd_path=usd_path(GROUND.name))
"""Ground plane that needs no download."""


KUKA_ALLEGRO_ARM_POS = (-1.571, 1.571, 0.0, 1.376, 0.0, 1.485, 2.358)
"""Default arm joints of the one-arm tasks [rad]: palm 16 cm above the table, facing down."""

KUKA_ALLEGRO_TWO_ARMS_POS = (-1.571, 1.571, 0.0, 1.6, 0.0, 1.485, 2.358)
"""Default joints of each arm of the two-arm tasks [rad]."""


def _kuka_allegro_state(
    pos: tuple[float, float, float], yaw: float, arm_pos: tuple[float, ...]
) -> ArticulationCfg.InitialStateCfg:
    """Base at a position [m], turned about z [rad], arm at some joints [rad], hand open and within its limits."""
    return ArticulationCfg.InitialStateCfg(
        pos=pos,
        rot=(0.0, 0.0, math.sin(yaw / 2.0), math.cos(yaw / 2.0)),
        joint_pos={
            joint.name: min(max(value, joint.lower), joint.upper)
            for joint, value in zip(KUKA_ALLEGRO.joints, (*arm_pos, *(0.0,) * 16))
        },
    )


KUKA_ALLEGRO_CFG = ALLEGRO_HAND_CFG.replace(
    spawn=ALLEGRO_HAND_CFG.spawn.replace(
        usd_path=usd_path(KUKA_ALLEGRO.name),
        rigid_props=[
            # slower than the official 1000 m/s: an object that starts inside a finger throws it less far
            ALLEGRO_HAND_CFG.spawn.rigid_props[0].replace(linear_damping=0.01, max_depenetration_velocity=5.0),
            MujocoRigidBodyCfg(gravcomp=1.0),
        ],
    ),
    init_state=_kuka_allegro_state((0.0, 0.8, 0.0), 0.0, KUKA_ALLEGRO_ARM_POS),
    actuators={
        "arm": ImplicitActuatorCfg(
            joint_names_expr=["iiwa7_joint_.*"],
            stiffness=ARM_DRIVE.stiffness,
            damping=ARM_DRIVE.damping,
            joint_effort_limit=ARM_DRIVE.effort,
            joint_velocity_limit=ARM_DRIVE.velocity,
            friction=ARM_DRIVE.friction,
            armature=ARM_DRIVE.armature,
        ),
        "hand": ImplicitActuatorCfg(
            joint_names_expr=["(index|middle|ring|thumb)_joint_.*"],
            stiffness=HAND_DRIVE.stiffness,
            damping=HAND_DRIVE.damping,
            joint_effort_limit=HAND_DRIVE.effort,
            joint_velocity_limit=HAND_DRIVE.velocity,
            friction={joint.name: joint.drive.friction for joint in KUKA_ALLEGRO.joints[7:]},
            armature=HAND_DRIVE.armature,
        ),
    },
)
"""Kuka iiwa7 with an Allegro hand, 0.8 m behind the table, drives of the official tasks."""

KUKA_ALLEGRO_LEFT_CFG = KUKA_ALLEGRO_CFG.replace(
    prim_path="{ENV_REGEX_NS}/Arm0",
    init_state=_kuka_allegro_state((-1.1, 0.0, 0.0), math.pi / 2.0, KUKA_ALLEGRO_TWO_ARMS_POS),
)
KUKA_ALLEGRO_RIGHT_CFG = KUKA_ALLEGRO_CFG.replace(
    prim_path="{ENV_REGEX_NS}/Arm1",
    init_state=_kuka_allegro_state((1.1, 0.0, 0.0), -math.pi / 2.0, KUKA_ALLEGRO_TWO_ARMS_POS),
)
"""The same robot twice, at the ends of the wide table, facing one another."""


TABLE_CFG = AssetBaseCfg(
    prim_path="{ENV_REGEX_NS}/Table",
    spawn=sim_utils.CuboidCfg(
        size=TABLE_SIZE,
        collision_props=CONTACT,
        visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=TABLE_COLOR),
    ),
    init_state=AssetBaseCfg.InitialStateCfg(pos=TABLE_CENTER),
)
"""Fixed table whose top is at 0.53 m."""

WIDE_TABLE_CFG = TABLE_CFG.replace(spawn=TABLE_CFG.spawn.replace(size=WIDE_TABLE_SIZE))
"""The same, 1.1 m wide, for two arms."""


BUCKET_CFG = RigidObjectCfg(
    prim_path="{ENV_REGEX_NS}/Bucket",
    spawn=sim_utils.UsdFileCfg(
        usd_path=usd_path(BUCKET.name),
        rigid_props=UsdPhysicsRigidBodyCfg(kinematic_enabled=True),
        collision_props=CONTACT,
    ),
    init_state=RigidObjectCfg.InitialStateCfg(pos=(0.7, 0.0, 0.3), rot=(0.0, 0.0, 0.0, 1.0)),
)
"""Bucket that stays where it is put."""


def cuboid_spawner(scales: Sequence[cuboids.Scale]) -> sim_utils.MultiAssetSpawnerCfg:
    """Spawner of one cuboid per scale.

    Args:
        scales: Edges in percent of the base edge.

    Returns:
        The spawner; which environment gets which cuboid is the cloner's choice.
    """
    # the cuboids are boxes and nothing else: one shape a body is the least a simulator can be given
    return sim_utils.MultiAssetSpawnerCfg(
        assets_cfg=[
            sim_utils.CuboidCfg(
                size=cuboids.edges(scale),
                # viewers may show the shape of another environment; the tasks draw the right one over it
                visible=False,
                mass_props=MassCfg(mass=cuboids.mass(scale)),
                rigid_props=ALLEGRO_CUBE_CFG.spawn.rigid_props,
                collision_props=CONTACT,
            )
            for scale in scales
        ],
        random_choice=False,
    )


CUBOID_CFG = RigidObjectCfg(
    prim_path="{ENV_REGEX_NS}/Object",
    spawn=cuboid_spawner([(100, 100, 100)]).assets_cfg[0],
    init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, 0.0, 0.63), rot=(0.0, 0.0, 0.0, 1.0)),
)
"""Object of the AllegroKuka tasks, 0.1 m above the table top; the environment replaces the default cube it spawns."""
