"""What a table of facts about a robot or an object is made of.

Units are SI (m, kg, rad, N, s). Quaternions are xyzw. Roll-pitch-yaw angles are URDF's: fixed axes, roll first.
"""

from __future__ import annotations

from dataclasses import dataclass

Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]

IDENTITY: Quat = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Box:
    """A box whose edges are parallel to its frame unless it is turned in it."""

    center: Vec3
    """Centre in the frame [m]."""

    half: Vec3
    """Half extents along x, y, z [m]."""

    color: Vec3
    """Display colour, RGB in [0, 1]."""

    frame: str | None = None
    """Frame the numbers are given in; None is the body's own frame."""

    collides: bool = True
    """Whether the shape takes part in contacts; otherwise it is only drawn."""

    rpy: Vec3 = (0.0, 0.0, 0.0)
    """Roll, pitch, yaw of the box in the frame [rad]."""


@dataclass(frozen=True)
class Capsule:
    """A capsule between two points."""

    start: Vec3
    """First end of the segment in the frame [m]."""

    end: Vec3
    """Second end of the segment in the frame [m]."""

    radius: float
    """Radius around the segment [m]."""

    color: Vec3
    """Display colour, RGB in [0, 1]."""

    frame: str | None = None
    """Frame the numbers are given in; None is the body's own frame."""

    collides: bool = True
    """Whether the shape takes part in contacts; otherwise it is only drawn."""


@dataclass(frozen=True)
class Cylinder:
    """A cylinder whose axis is the z axis of its frame."""

    center: Vec3
    """Centre in the frame [m]."""

    radius: float
    """Radius [m]."""

    half_length: float
    """Half of the length along z [m]."""

    color: Vec3
    """Display colour, RGB in [0, 1]."""

    frame: str | None = None
    """Frame the numbers are given in; None is the body's own frame."""

    collides: bool = True
    """Whether the shape takes part in contacts; otherwise it is only drawn."""


Shape = Box | Capsule | Cylinder


@dataclass(frozen=True)
class Body:
    """A rigid body."""

    name: str
    """Name, unique in the robot."""

    mass: float
    """Mass [kg]."""

    com: Vec3
    """Centre of mass in the body frame [m]."""

    inertia: Vec3
    """Principal moments of inertia about the centre of mass [kg m^2]."""

    shapes: tuple[Shape, ...] = ()
    """Shapes fixed to the body."""

    principal_axes: Quat = IDENTITY
    """Orientation of the principal axes in the body frame, xyzw."""


@dataclass(frozen=True)
class Frame:
    """A named frame fixed to a body: what is left of a link whose fixed joint was merged away."""

    name: str
    """Name, unique among bodies and frames."""

    parent: str
    """Body or earlier frame it is fixed to."""

    xyz: Vec3
    """Origin in the parent [m]."""

    rpy: Vec3 = (0.0, 0.0, 0.0)
    """Roll, pitch, yaw in the parent [rad]."""


@dataclass(frozen=True)
class Drive:
    """A joint's position drive: torque = clip(stiffness * error - damping * velocity, +-effort)."""

    stiffness: float
    """[N m/rad]."""

    damping: float
    """[N m s/rad]."""

    effort: float
    """Largest torque of the drive [N m]."""

    velocity: float
    """Largest joint speed [rad/s]."""

    friction: float
    """Joint friction, in the unit of the engine that reads it."""

    armature: float
    """Rotor inertia added to the joint [kg m^2]."""


@dataclass(frozen=True)
class Joint:
    """A revolute joint. Joints are listed depth first, each after the joint that moves its parent."""

    name: str
    """Name, unique in the robot."""

    parent: str
    """Parent body or frame."""

    child: str
    """Child body."""

    xyz: Vec3
    """Origin of the child frame in the parent [m]."""

    rpy: Vec3
    """Roll, pitch, yaw of the child frame in the parent at angle 0 [rad]."""

    lower: float
    """Lower limit [rad]."""

    upper: float
    """Upper limit [rad]."""

    drive: Drive
    """The joint's drive."""

    axis: Vec3 = (0.0, 0.0, 1.0)
    """Axis in the child frame (need not be of unit length)."""


@dataclass(frozen=True)
class Coupling:
    """Two joints of which one follows the other, as a tendon over two pulleys makes them."""

    follower: str
    """Joint that follows."""

    leader: str
    """Joint that is followed."""

    ratio: float
    """Angle of the follower per angle of the leader."""


@dataclass(frozen=True)
class Robot:
    """An articulation with a fixed base. The first body is the base; its frame is the robot's frame."""

    name: str
    """Name of the USD file and of its root prim."""

    bodies: tuple[Body, ...]
    """Bodies, the base first."""

    joints: tuple[Joint, ...]
    """Joints, depth first."""

    frames: tuple[Frame, ...] = ()
    """Frames that joints and shapes may refer to."""

    filtered_pairs: tuple[tuple[str, str], ...] = ()
    """Pairs that never collide with one another: bodies, or single shapes as ``body/collision_<index>``."""

    couplings: tuple[Coupling, ...] = ()
    """Joints that follow others."""

    friction: float = 1.0
    """Static and dynamic friction coefficient of every shape."""


@dataclass(frozen=True)
class RigidObject:
    """A single free body."""

    name: str
    """Name of the USD file and of its root prim."""

    body: Body
    """The body; its frame is the object's frame."""

    friction: float = 1.0
    """Static and dynamic friction coefficient of every shape."""


@dataclass(frozen=True)
class Ground:
    """A horizontal plane at z = 0 that collides with everything above it."""

    name: str
    """Name of the USD file and of its root prim."""

    color: Vec3
    """Display colour, RGB in [0, 1]."""

    size: float = 400.0
    """Edge of the square that is drawn [m]."""

    friction: float = 1.0
    """Static and dynamic friction coefficient."""
