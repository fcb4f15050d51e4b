"""Configuration of the in-hand reorientation tasks.

Numbers are the official code's unless a field says otherwise. Positions are in the environment frame [m], quaternions
xyzw.
"""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Literal

import isaaclab.sim as sim_utils
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import JointWrenchSensorCfg
from isaaclab.sim import SimulationCfg
from isaaclab.sim.spawners.materials import RigidBodyMaterialBaseCfg
from isaaclab.utils import configclass
from isaaclab.visualizers import VisualizerCfg
from isaaclab_tasks.utils import preset

from sapg_isaaclab.assets.robots import (
    ALLEGRO_CUBE_CFG,
    ALLEGRO_HAND_CFG,
    ALLEGRO_JOINT_NAMES,
    GROUND_CFG,
    SHADOW_CUBE_CFG,
    SHADOW_FINGERTIP_NAMES,
    SHADOW_HAND_CFG,
    SHADOW_JOINT_NAMES,
    SHADOW_MOTOR_NAMES,
)
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE, SHADOW_CUBE
from sapg_isaaclab.assets.tables.shadow_hand import SHADOW_HAND
from sapg_isaaclab.tasks import randomization
from sapg_isaaclab.tasks.base_cfg import TaskEnvCfg
from sapg_isaaclab.tasks.host_memory import ensure_host_memory
from sapg_isaaclab.tasks.physics import DEFAULT_DEVICE, DEFAULT_NUM_ENVS, PhysicsPresets

# every way to this task leads through its configuration: gym.make, Isaac Lab's command line, the tests
ensure_host_memory()

ObsType = Literal["full_state", "full", "full_no_vel", "openai", "measured"]
"""Names of the observation layouts; a task need not have all of them."""

_OBJECT = ["object_pos", "object_quat"]
_OBJECT_VEL = ["object_lin_vel", "object_ang_vel"]
_GOAL = ["goal_pos", "goal_quat", "goal_rotation"]

ALLEGRO_OBS_LAYOUTS = {
    "full_state": ["joint_pos", "joint_vel", "joint_force", *_OBJECT, *_OBJECT_VEL, *_GOAL, "actions"],
    "full": ["joint_pos", "joint_vel", *_OBJECT, *_OBJECT_VEL, *_GOAL, "actions"],
    "full_no_vel": ["joint_pos", *_OBJECT, *_GOAL, "actions"],
    "measured": ["joint_pos", "joint_targets", *_OBJECT, *_GOAL, "actions"],
}
"""Items of each observation layout of the Allegro task, in order."""

SHADOW_OBS_LAYOUTS = {
    "full_state": [
        *ALLEGRO_OBS_LAYOUTS["full_state"][:-1],
        "fingertip_state",
        "fingertip_wrench",
        "actions",
    ],
    "full": [*ALLEGRO_OBS_LAYOUTS["full"][:-1], "fingertip_state", "actions"],
    "full_no_vel": [*ALLEGRO_OBS_LAYOUTS["full_no_vel"][:-1], "fingertip_pos", "actions"],
    "measured": [*ALLEGRO_OBS_LAYOUTS["measured"][:-1], "fingertip_pos", "actions"],
    "openai": ["fingertip_pos", "object_pos", "goal_rotation", "actions"],
}
"""Items of each observation layout of the Shadow task, in order."""

SMALL_NUM_ENVS = 384
"""Environments of ``presets=small``: six blocks of 64."""


@configclass
class InHandSceneCfg(InteractiveSceneCfg):
    """A hand, the object on its palm, the ground and a light."""

    num_envs: int = preset(default=DEFAULT_NUM_ENVS, small=SMALL_NUM_ENVS)
    env_spacing: float = 1.5
    replicate_physics: bool = True

    robot: ArticulationCfg = ALLEGRO_HAND_CFG
    """The hand."""

    object: RigidObjectCfg = ALLEGRO_CUBE_CFG
    """The object; its initial position is the nominal start of the task."""

    ground = AssetBaseCfg(prim_path="/World/ground", collision_group=-1, spawn=GROUND_CFG)
    """Ground plane at z = 0, common to all environments."""

    light = AssetBaseCfg(prim_path="/World/light", spawn=sim_utils.DomeLightCfg(intensity=2000.0))
    """Light for renderers that read the stage."""


@configclass
class ShadowSceneCfg(InHandSceneCfg):
    """The Shadow hand, its cube, and a sensor of what goes through the joints."""

    robot: ArticulationCfg = SHADOW_HAND_CFG
    object: RigidObjectCfg = SHADOW_CUBE_CFG

    joint_wrench = JointWrenchSensorCfg(prim_path="{ENV_REGEX_NS}/Robot")
    """Force and torque that each joint passes to its child body."""


@configclass
class AllegroEventsCfg:
    """What ``presets=randomized`` draws for each environment.

    Ranges are those of Isaac Lab 3.0's own ``AllegroHandRandomizationEventCfg``, gravity that of its
    ``ShadowHandRandomizationEventCfg``; pushes are ours.
    """

    robot_friction = randomization.friction("robot", 0.7, 1.3)
    object_friction = randomization.friction("object", 0.7, 1.3)
    robot_mass = randomization.masses("robot", 0.95, 1.05)
    object_mass = randomization.masses("object", 0.4, 1.6)
    gains = randomization.gains((0.3, 3.0), (0.75, 1.5), "log_uniform")
    gravity = randomization.gravity(0.4)
    pushes = randomization.pushes(0.1, (2.0, 5.0))


@configclass
class ShadowEventsCfg(AllegroEventsCfg):
    """The same with the Shadow hand.

    Ranges are those of Isaac Lab 3.0's ``ShadowHandRandomizationEventCfg``, the robot's masses and pushes as with the
    Allegro hand.
    """

    object_mass = randomization.masses("object", 0.5, 1.5)
    gains = randomization.gains((0.75, 1.5), (0.3, 3.0), "log_uniform")


@configclass
class GoalCurriculumCfg:
    """Easier goals to begin with; see :class:`~sapg_isaaclab.tasks.curriculum.Curriculum`. Not in the paper.

    A goal is a turn of the object, as it then lies, by a random angle about a random axis. The largest angle and the
    tolerance move together towards the official task: goals from all rotations, reached within ``success_tolerance``.
    """

    enabled: bool = preset(default=False, small=True)
    """Whether there is a curriculum; without one the task is the official one from the start."""

    initial_angle: float = 0.8
    """Largest angle between object and new goal at the start [rad]; at pi goals are drawn from all rotations."""

    angle_factor: float = 1.1
    """Factor of that angle in one step of the curriculum."""

    min_angle: float = 0.25
    """Smallest angle between object and new goal until then [rad]."""

    initial_tolerance: float = 0.2
    """Tolerance at the start [rad], instead of ``success_tolerance``."""

    tolerance_factor: float = 0.95
    """Factor of the tolerance in one step of the curriculum."""

    interval: int = 300
    """Control steps between two steps of the curriculum, at least."""

    threshold: float = 1.0
    """Mean successes of the last finished episodes from which on the next step is made."""

    gate: Literal["all", "leader", "block"] = "all"
    """Whose successes count: those of all environments, those of the leader's block, block 0, or with ``block`` those
    of each block for a curriculum of its own."""


@configclass
class InHandReorientEnvCfg(TaskEnvCfg):
    """What the in-hand reorientation tasks of all hands share; a task adds its scene, joints and sizes."""

    decimation = 4
    observation_space = 0  # set by the environment from obs_type
    state_space = 0  # one vector serves actor and critic, unless asymmetric

    sim: SimulationCfg = SimulationCfg(
        device=DEFAULT_DEVICE,
        dt=1.0 / 120.0,
        render_interval=4,
        physics_material=RigidBodyMaterialBaseCfg(static_friction=1.0, dynamic_friction=1.0, restitution=0.0),
        physics=PhysicsPresets(),
        default_visualizer_cfg=VisualizerCfg(focal_length=36.0),
    )

    events: AllegroEventsCfg | None = preset(default=None, randomized=AllegroEventsCfg())
    """What is drawn for each environment: friction, masses, gains, gravity, pushes; see
    :mod:`sapg_isaaclab.tasks.randomization`."""

    hand_asset: str = MISSING
    """Name of the hand's table: which joints follow others, and which body each joint moves."""

    joint_names: list[str] = MISSING
    """All joints of the hand, in the order of observations."""

    actuated_joint_names: list[str] = MISSING
    """Joints that actions move, in the order of actions."""

    fingertip_body_names: list[str] = field(default_factory=list)
    """Bodies whose states and wrenches are observed, if the layout has such items."""

    obs_type: ObsType = preset(default="full_state", paper="full")
    """Observation layout. ``full_state`` (official) includes forces, ``full`` (paper) leaves them out, ``full_no_vel``
    has positions only, ``measured`` what a robot can know."""

    obs_layouts: dict[str, list[str]] = MISSING
    """Items of each observation layout, in order; see :meth:`InHandReorientEnv.observation_layout`."""

    asymmetric: bool = False
    """Whether policy and critic see differently: the policy the layout ``measured``, with the object's pose as
    ``pose_estimate`` has it, and the critic, as Isaac Lab's group ``critic``, that of ``obs_type``."""

    joint_force_obs: Literal["zero", "measured"] = "zero"
    """Joint forces in ``full_state``: ``zero`` as the official code reads them for the Allegro hand, whose sensors it
    never turns on, or ``measured``: the torque about each joint [N m] from the scene's ``joint_wrench`` sensor, or the
    drives' torque in a scene without one."""

    action_smoothing: float = 1.0
    """Weight of the new joint target in the moving average with the previous one; 1 is no smoothing."""

    vel_obs_scale: float = 0.2
    """Factor of joint velocities and of the object's angular velocity in observations [s/rad]."""

    force_obs_scale: float = 10.0
    """Factor of joint forces and fingertip wrenches in observations [1/(N m), 1/N]."""

    obs_clip: float = 5.0
    """Observations are clipped to +- this."""

    goal_offset: tuple[float, float, float] = (0.0, 0.0, -0.04)
    """Goal position relative to the object's nominal start [m]."""

    goal_marker_offset: tuple[float, float, float] = (0.0, 0.21, 0.11)
    """Where the goal is drawn, relative to the goal position [m]; drawing only."""

    goal_asset: str = MISSING
    """Name of the asset that is drawn as the goal."""

    camera_eye: tuple[float, float, float] = MISSING
    """Where viewers look from, in the frame of the environment they show [m]."""

    camera_lookat: tuple[float, float, float] = MISSING
    """What viewers look at, in the frame of the environment they show [m]."""

    reset_position_noise: float = 0.01
    """Object position at reset is the nominal start +- this on each axis [m]."""

    reset_joint_noise: float = 0.2
    """Joint positions at reset are this share of a uniform sample between the limits, clamped to the limits."""

    curriculum: GoalCurriculumCfg = GoalCurriculumCfg()
    """Easier goals to begin with; off but in ``presets=small``."""

    success_tolerance: float = 0.1
    """A goal is reached at a rotation error of at most this [rad]."""

    fall_distance: float = 0.24
    """The episode ends when the object is at least this far from the goal position [m]."""

    position_reward_scale: float = -10.0
    """Reward per metre of position error."""

    rotation_reward_scale: float = 1.0
    """Factor of ``1 / (rotation error + rotation_reward_eps)``."""

    rotation_reward_eps: float = 0.1
    """Offset of the rotation error [rad]."""

    action_reward_scale: float = -0.0002
    """Reward per squared action."""

    success_bonus: float = 250.0
    """Reward of a reached goal."""

    fall_penalty: float = 0.0
    """Reward of a dropped object."""


@configclass
class AllegroReorientEnvCfg(InHandReorientEnvCfg):
    """SAPG-Allegro-Reorient: the Allegro hand turns a 65 mm cube, 30 Hz, 600 steps an episode.

    ``presets=small`` is for a machine without GPU and begins with easier goals.
    """

    episode_length_s = 20.0
    action_space = 16
    hand_asset = ALLEGRO_HAND.name
    obs_layouts = ALLEGRO_OBS_LAYOUTS
    joint_names = ALLEGRO_JOINT_NAMES
    actuated_joint_names = ALLEGRO_JOINT_NAMES
    scene: InHandSceneCfg = InHandSceneCfg()
    goal_asset = ALLEGRO_CUBE.name
    camera_eye = (0.58, -0.37, 0.93)
    camera_lookat = (-0.03, -0.11, 0.575)


@configclass
class ShadowReorientEnvCfg(InHandReorientEnvCfg):
    """SAPG-Shadow-Reorient: the Shadow hand turns a 50 mm cube, 60 Hz, 600 steps an episode.

    ``presets=small`` is for a machine without GPU and begins with easier goals.
    """

    decimation = 2
    episode_length_s = 10.0
    action_space = 20
    events: ShadowEventsCfg | None = preset(default=None, randomized=ShadowEventsCfg())
    hand_asset = SHADOW_HAND.name
    joint_names = SHADOW_JOINT_NAMES
    actuated_joint_names = SHADOW_MOTOR_NAMES
    fingertip_body_names = SHADOW_FINGERTIP_NAMES
    # the paper says nothing about this task's observation that the official one contradicts
    obs_type: ObsType = preset(default="full_state", paper="full_state")
    obs_layouts = SHADOW_OBS_LAYOUTS
    joint_force_obs = "measured"
    scene: ShadowSceneCfg = ShadowSceneCfg()
    goal_asset = SHADOW_CUBE.name
    goal_marker_offset = (0.0, 0.20, 0.07)
    camera_eye = (0.47, -0.71, 0.94)
    camera_lookat = (-0.01, -0.29, 0.57)
