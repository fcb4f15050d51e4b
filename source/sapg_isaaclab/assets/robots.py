"""Isaac Lab configurations of the shipped robots and objects.

Engine settings that are not facts about the robot live here: solver iterations, damping, offsets. They are the official
code's: TGS with 8 position and no velocity iterations, contact offset 2 mm, rest offset 0.
"""

from __future__ import annotations

import math

import isaaclab.sim as sim_utils
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, RigidObjectCfg
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg, NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg, PhysxCollisionCfg, PhysxRigidBodyCfg

from sapg_isaaclab.assets.generate import DATA_DIR
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.allegro_hand import DRIVE as ALLEGRO_DRIVE
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE, GROUND

ALLEGRO_JOINT_NAMES = [joint.name for joint in ALLEGRO_HAND.joints]
"""The 16 joints in the order of actions and observations: index, middle, ring, thumb, each from the palm outwards."""

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


GROUND_CFG = sim_utils.UsdFileCfg(usd_path=usd_path(GROUND.name))
"""Ground plane that needs no download."""
