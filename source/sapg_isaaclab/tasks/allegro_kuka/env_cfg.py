"""Configuration of the AllegroKuka tasks.

Numbers are the official code's unless a field says otherwise; ``presets=paper`` takes the text of the paper literally
where the two differ. Positions are in the environment frame [m], quaternions xyzw. All frictions are 1, so it does not
matter how an engine combines them.
"""

from __future__ import annotations

import math
from dataclasses import MISSING
from typing import Literal

from isaaclab.sim import SimulationCfg
from isaaclab.sim.spawners.materials import RigidBodyMaterialBaseCfg
from isaaclab.utils import configclass
from isaaclab.visualizers import VisualizerCfg
from isaaclab_tasks.utils import preset

from sapg_isaaclab.assets.robots import KUKA_ALLEGRO_ARM_POS, KUKA_ALLEGRO_JOINT_NAMES, KUKA_ALLEGRO_TWO_ARMS_POS
from sapg_isaaclab.assets.tables.bucket import GOAL_HEIGHT
from sapg_isaaclab.tasks import randomization
from sapg_isaaclab.tasks.allegro_kuka.scene_cfg import AllegroKukaSceneCfg, ThrowSceneCfg, TwoArmsSceneCfg
from sapg_isaaclab.tasks.base_cfg import TaskEnvCfg
from sapg_isaaclab.tasks.host_memory import ensure_host_memory
from sapg_isaaclab.tasks.physics import DEFAULT_DEVICE, PhysicsPresets
from sapg_isaaclab.tasks.pose_estimate import PoseEstimateCfg

# every way to this task leads through its configuration: gym.make, Isaac Lab's command line, the tests
ensure_host_memory()

CONTROL_HZ = 60
"""Control steps per second."""

ALL_SETS = ["default", "small", "big", "sticks"]
"""947 cuboids of 0.05 to 0.75 kg."""

LIGHT_SETS = ["default", "small"]
"""654 cuboids of 0.05 to 0.125 kg."""

_GEOMETRY = ["object_quat", "tips_from_palm", "keypoints_from_palm", "keypoints_from_goal", "object_scale"]

MEASURED_ITEMS = ["joint_pos", "joint_targets", "palm_pos", "palm_quat", *_GEOMETRY, "actions"]
"""What a robot can know: its encoders and commands, what follows from them, and an estimate of the object's pose."""

SIMTOOLREAL_ITEMS = ["joint_pos", "joint_vel", "joint_targets", "palm_pos", "palm_quat", *_GEOMETRY]
"""What the policy of SimToolReal (arXiv 2602.16863) sees."""

SIMTOOLREAL_POSE = PoseEstimateCfg(max_delay=10, position_noise=0.01, rotation_noise=0.1)
"""Errors of the pose in ``presets=simtoolreal``: the delay is SimToolReal's, the sizes of the noise are ours."""


@configclass
class RegraspGoalCfg:
    """Options of :class:`~sapg_isaaclab.tasks.allegro_kuka.goals.Regrasp`."""

    low: tuple[float, float, float] = (-0.4, 0.0, 0.68)
    """Lower corner of the box of goal positions [m]."""

    high: tuple[float, float, float] = (0.4, 0.35, 1.05)
    """Upper corner of the box of goal positions [m]."""

    both_sides: bool = False
    """Whether half of the goals are in this box and half in the one that mirrors it in x."""


@configclass
class ThrowGoalCfg:
    """Options of :class:`~sapg_isaaclab.tasks.allegro_kuka.goals.Throw`."""

    x_range: tuple[float, float] = (0.5, 0.9)
    """Distance of the bucket from the middle of the table, to either side [m]."""

    y_range: tuple[float, float] = (-1.0, 0.7)
    """Range of the bucket along y [m]."""

    z_range: tuple[float, float] = (0.0, 1.0)
    """Range of the height of the bucket's bottom [m]."""

    height: float = GOAL_HEIGHT
    """Height of the goal point above the bucket's bottom [m]."""


@configclass
class ReorientGoalCfg:
    """Options of :class:`~sapg_isaaclab.tasks.allegro_kuka.goals.Reorient`."""

    low: tuple[float, float, float] = (-0.4, 0.0, 0.68)
    """Lower corner of the box of goal positions [m]."""

    high: tuple[float, float, float] = (0.4, 0.35, 1.05)
    """Upper corner of the box of goal positions [m]."""

    both_sides: bool = False
    """Whether half of the goals are in this box and half in the one that mirrors it in x."""

    max_tip_distance: float = 1.5
    """The episode ends when a fingertip is farther than this from the object [m]; ``inf`` for no such rule."""


@configclass
class AllegroKukaEventsCfg:
    """What ``presets=randomized`` draws for each environment; objects, pushes and starts are random anyway.

    Ranges are those of Isaac Lab 3.0's lifting task with this robot (``lift_env_cfg.EventCfg``), gravity that of its
    ``ShadowHandRandomizationEventCfg``.
    """

    robot_friction = randomization.friction("robot", 0.5, 1.0)
    object_friction = randomization.friction("object", 0.5, 1.0)
    object_mass = randomization.masses("object", 0.2, 2.5)
    gains = randomization.gains((0.5, 2.0), (0.5, 2.0), "uniform")
    gravity = randomization.gravity(0.4)


@configclass
class TwoArmsEventsCfg:
    """The same for two arms, each with friction and gains of its own."""

    arm0_friction = randomization.friction("arm0", 0.5, 1.0)
    arm1_friction = randomization.friction("arm1", 0.5, 1.0)
    object_friction = randomization.friction("object", 0.5, 1.0)
    object_mass = randomization.masses("object", 0.2, 2.5)
    arm0_gains = randomization.gains((0.5, 2.0), (0.5, 2.0), "uniform", "arm0")
    arm1_gains = randomization.gains((0.5, 2.0), (0.5, 2.0), "uniform", "arm1")
    gravity = randomization.gravity(0.4)


@configclass
class CurriculumCfg:
    """How the tolerance shrinks; see :class:`~sapg_isaaclab.tasks.curriculum.Curriculum`."""

    initial: float = 0.075
    """Tolerance at the start [m]."""

    final: float = 0.01
    """Smallest tolerance [m]; equal to ``initial`` for none at all."""

    factor: float = 0.9
    """Factor of one tightening."""

    interval: int = preset(default=3000, epo_released=300)
    """Control steps between two tightenings, at least. The released code of EPO has a tenth of SAPG's."""

    threshold: float = 3.0
    """Mean successes of the last finished episodes from which on the tolerance is tightened."""

    gate: Literal["all", "leader", "block"] = "all"
    """Whose successes count: those of all environments (official code), those of the leader's block, block 0, or with
    ``block`` those of each block for a tolerance of its own, as learners that are trained apart have it."""


@configclass
class AllegroKukaEnvCfg(TaskEnvCfg):
    """What the tasks share; a task adds its goal, objects and lengths."""

    decimation = 2
    action_space = 23
    observation_space = 0  # set by the environment from the number of keypoints
    state_space = 0  # one vector serves actor and critic, unless asymmetric

    sim: SimulationCfg = SimulationCfg(
        device=DEFAULT_DEVICE,
        dt=1.0 / 120.0,
        render_interval=2,
        physics_material=RigidBodyMaterialBaseCfg(static_friction=1.0, dynamic_friction=1.0, restitution=0.0),
        physics=PhysicsPresets(),
        default_visualizer_cfg=VisualizerCfg(focal_length=32.0),
    )

    scene: AllegroKukaSceneCfg = AllegroKukaSceneCfg()

    goal: RegraspGoalCfg | ThrowGoalCfg | ReorientGoalCfg = MISSING
    """What the task asks for."""

    curriculum: CurriculumCfg = CurriculumCfg()
    """How the tolerance shrinks."""

    events: AllegroKukaEventsCfg | TwoArmsEventsCfg | None = preset(default=None, randomized=AllegroKukaEventsCfg())
    """What is drawn for each environment: friction, masses, gains, gravity; see
    :mod:`sapg_isaaclab.tasks.randomization`."""

    deterministic_evaluation: bool = False
    """Whether policies are played without their noise; the official code keeps it in these tasks."""

    # -- objects ---------------------------------------------------------------------------------------------------

    object_sets: list[str] = MISSING
    """Sets of cuboids: ``default``, ``small``, ``big``, ``sticks``."""

    object_seed: int = 42
    """Seed of the order in which environments take the objects."""

    max_shapes: int | None = None
    """Largest number of different objects; None for as many as there are and a block has environments."""

    # -- arms and actions ------------------------------------------------------------------------------------------

    arms: tuple[str, ...] = ("robot",)
    """The arms with their hands, by their names in the scene, in the order of actions and observations."""

    joint_names: list[str] = KUKA_ALLEGRO_JOINT_NAMES
    """Joints of each of them, the arm's first, in the order of actions and observations."""

    num_arm_joints: int = 7
    """How many of these belong to the arm and not to its hand."""

    arm_mode: Literal["velocity", "position"] = "velocity"
    """Whether actions move the targets of an arm's joints, or give them between the joints' limits as those of the hand
    do."""

    arm_speed: float = 10.0
    """Speed of an arm's targets at action 1, where actions move them [rad/s]."""

    action_smoothing: float = 1.0
    """Weight of the new target in the moving average with the previous one, where actions give targets; 1 is no
    smoothing."""

    joint_limit_tolerance: float = 0.005
    """Joints that end a control step farther beyond their limits than this are put back onto them [rad]; ``inf`` leaves
    them to the engine."""

    # -- resets ----------------------------------------------------------------------------------------------------

    default_joint_pos: tuple[float, ...] = (*KUKA_ALLEGRO_ARM_POS, *(0.0,) * 16)
    """Joint positions around which each arm starts episodes [rad]."""

    reset_joint_noise: float = 0.1
    """Share of the way from the default to a uniform sample between the limits, clamped to the limits."""

    reset_joint_vel: float = 0.5
    """Joint velocities at reset are uniform between +- this [rad/s]."""

    reset_position_noise: tuple[float, float, float] = (0.1, 0.1, 0.02)
    """Object position at reset is the nominal start +- this on each axis [m]."""

    reset_side: float = 0.0
    """The nominal start is this far along x from the object's initial position, on either side with equal probability
    [m]."""

    # -- observations ----------------------------------------------------------------------------------------------

    asymmetric: bool = preset(default=False, simtoolreal=True)
    """Whether policy and critic see differently: the policy ``policy_items``, with the object's pose as
    ``pose_estimate`` has it, and the critic, as Isaac Lab's group ``critic``, the official observation."""

    policy_items: list[str] = preset(default=MEASURED_ITEMS, simtoolreal=SIMTOOLREAL_ITEMS)
    """What the policy then sees, in order; an item of the palm stands for those of all arms."""

    pose_estimate: PoseEstimateCfg = preset(default=PoseEstimateCfg(), simtoolreal=SIMTOOLREAL_POSE)
    """Errors of the pose that the policy then sees."""

    observe_closest_tip: bool = True
    """Whether the official observation holds the closest distance of every fingertip."""

    keypoint_scale: float = 1.5
    """How far outside the object the keypoints lie; 1 is on its corners."""

    obs_clip: float = 10.0
    """Observations are clipped to +- this."""

    reward_obs_scale: float = 0.01
    """Factor of the last reward in observations."""

    # -- success and end -------------------------------------------------------------------------------------------

    success_radius_scale: float = preset(default=1.5, paper=1.0)
    """The goal is near when the largest keypoint distance is at most this times the tolerance. 1.5 is the official
    code's, and that of the published figures; 1 is the paper's formula."""

    hold_steps: int = MISSING
    """Steps near the goal that make a success."""

    hold: Literal["cumulative", "consecutive"] = preset(default="cumulative", paper="consecutive")
    """Whether these steps add up over the goal (official code) or must follow one another (the paper's words)."""

    drop_height: float = 0.1
    """The episode ends when the object is lower than this [m]."""

    max_successes: int = 50
    """The episode ends after this many successes."""

    # -- random forces on the object -------------------------------------------------------------------------------

    force_scale: float = 2.0
    """Standard deviation of a push per kilogram [N/kg]; 0 for none."""

    force_mass: Literal["env0", "per_object"] = preset(default="env0", paper="per_object")
    """Whose mass scales the pushes: that of environment 0's object in the official runs for all, as the official code
    has it, or each object's own."""

    force_env0_mass: float = 0.15
    """Mass of environment 0's object in the official runs [kg]."""

    force_probability: tuple[float, float] = (0.001, 0.1)
    """Range of the probability of a push in a control step, drawn log-uniformly for each episode."""

    force_decay: float = 0.99
    """Factor by which a push fades in ``force_decay_interval``."""

    force_decay_interval: float = 0.08
    """[s]."""

    # -- reward ----------------------------------------------------------------------------------------------------

    fingertip_reward_scale: float = 50.0
    """Reward per metre that a fingertip comes closer to the object than ever."""

    fingertip_after_lift: bool = False
    """Whether this is paid for lifted objects too."""

    lifting_reward_scale: float = 20.0
    """Reward per metre of height before the object is lifted, each step."""

    lifting_limit: float = 0.5
    """Largest height that counts [m]."""

    lift_offset: float = 0.05
    """Added to the height above the nominal start [m]."""

    lift_threshold: float = 0.15
    """The object is lifted above this height [m]: 0.73 m above the ground, 0.2 m above the table."""

    lift_bonus: float = 300.0
    """Reward for lifting."""

    keypoint_reward_scale: float = 200.0
    """Reward per metre that the lifted object comes closer to the goal than ever."""

    goal_bonus: float = 1000.0
    """Reward of a goal, spread over its ``hold_steps``."""

    arm_velocity_reward_scale: float = -0.003
    """Reward per rad/s of arm joints."""

    hand_velocity_reward_scale: float = -0.0003
    """Reward per rad/s of hand joints."""

    # -- drawing ---------------------------------------------------------------------------------------------------

    camera_eye: tuple[float, float, float] = (1.05, -1.15, 1.2)
    """Where viewers look from, in the frame of the environment they show [m]."""

    camera_lookat: tuple[float, float, float] = (0.02, 0.25, 0.66)
    """What viewers look at, in the frame of the environment they show [m]."""

    def arm_prefixes(self) -> list[str]:
        """What the names of each arm's joints and items begin with: nothing where there is only one."""
        return [""] if len(self.arms) == 1 else [f"{arm}_" for arm in self.arms]


@configclass
class AllegroKukaRegraspEnvCfg(AllegroKukaEnvCfg):
    """SAPG-AllegroKuka-Regrasp: hold the object at a point for 30 steps; 400 steps for each goal."""

    episode_length_s = 400 / CONTROL_HZ
    goal: RegraspGoalCfg = RegraspGoalCfg()
    object_sets = ALL_SETS
    hold_steps = 30


@configclass
class AllegroKukaThrowEnvCfg(AllegroKukaEnvCfg):
    """SAPG-AllegroKuka-Throw: get the object into a bucket for 5 steps; 300 steps for each goal."""

    episode_length_s = 300 / CONTROL_HZ
    scene: ThrowSceneCfg = ThrowSceneCfg()
    goal: ThrowGoalCfg = ThrowGoalCfg()
    curriculum: CurriculumCfg = CurriculumCfg(final=0.075)
    object_sets = LIGHT_SETS
    hold_steps = 5
    force_scale: float = preset(default=0.0, randomized=2.0)
    camera_eye = (0.0, -2.75, 1.9)
    camera_lookat = (0.0, 0.05, 0.45)


@configclass
class AllegroKukaReorientEnvCfg(AllegroKukaEnvCfg):
    """SAPG-AllegroKuka-Reorient: bring the object to pose after pose; 600 steps for each goal."""

    episode_length_s = 600 / CONTROL_HZ
    goal: ReorientGoalCfg = ReorientGoalCfg()
    object_sets = ALL_SETS
    hold_steps = 1


_TWO_SIDES = {"low": (0.55, -0.5, 0.68), "high": (0.95, 0.5, 1.05), "both_sides": True}


@configclass
class AllegroKukaTwoArmsEnvCfg(AllegroKukaEnvCfg):
    """What the tasks with two arms share (official code; they are not in the paper).

    Object and goal are each on a random side, goals beyond the ends of the table: every other one is the other arm's.
    """

    action_space = 46
    scene: TwoArmsSceneCfg = TwoArmsSceneCfg()
    events: TwoArmsEventsCfg | None = preset(default=None, randomized=TwoArmsEventsCfg())
    object_sets = ALL_SETS
    arms = ("arm0", "arm1")
    arm_mode = "position"
    default_joint_pos = (*KUKA_ALLEGRO_TWO_ARMS_POS, *(0.0,) * 16)
    reset_side = 0.35
    observe_closest_tip = False
    fingertip_after_lift = True
    arm_velocity_reward_scale = 0.0
    hand_velocity_reward_scale = 0.0
    camera_eye = (0.0, -3.7, 2.05)
    camera_lookat = (0.0, 0.0, 0.55)


@configclass
class AllegroKukaTwoArmsRegraspEnvCfg(AllegroKukaTwoArmsEnvCfg):
    """SAPG-AllegroKukaTwoArms-Regrasp: hold the object at a point for 30 steps; 400 steps for each goal."""

    episode_length_s = 400 / CONTROL_HZ
    goal: RegraspGoalCfg = RegraspGoalCfg(**_TWO_SIDES)
    hold_steps = 30


@configclass
class AllegroKukaTwoArmsReorientEnvCfg(AllegroKukaTwoArmsEnvCfg):
    """SAPG-AllegroKukaTwoArms-Reorient: bring the object to pose after pose; 600 steps for each goal."""

    episode_length_s = 600 / CONTROL_HZ
    goal: ReorientGoalCfg = ReorientGoalCfg(**_TWO_SIDES, max_tip_distance=math.inf)
    hold_steps = 1
