"""Shadow hand of OpenAI's in-hand tasks, fixed base, 24 joints of which 20 are actuated.

The numbers are those of the MJCF the official code loads (``shadow_hand.xml``, by OpenAI from ShadowRobot's model):
joints, limits, masses, inertias, drives, tendons and collision shapes, which are boxes and capsules already. Only the
forearm is a mesh there and a fitted capsule here. The forearm is fixed to the mount and merged with it.

The joints of a finger are numbered from the tip: J0 moves the distal link, J1 the middle one, J2 and J3 the knuckle.
Index, middle, ring and little finger have no motor at J0. In the MJCF a tendon over two pulleys holds
|0.00705 q_J0 - 0.00805 q_J1| within 1 mm; here J0 follows J1 in that ratio without the play of 0.142 rad.

Positive angles of J0, J1 and J2 flex a finger towards the palm's inside, -y of ``palm``.
"""

from itertools import combinations

from sapg_isaaclab.assets.description import (
    Body,
    Box,
    Capsule,
    Coupling,
    Drive,
    Frame,
    Joint,
    Quat,
    Robot,
    Shape,
    Vec3,
)

# linear light, see objects.py
FOREARM_COLOR: Vec3 = (0.02, 0.023, 0.03)
PALM_COLOR: Vec3 = (0.13, 0.14, 0.16)
LINK_COLOR: Vec3 = (0.36, 0.37, 0.38)
KNUCKLE_COLOR: Vec3 = (0.04, 0.045, 0.055)
TIP_COLOR: Vec3 = (0.62, 0.58, 0.48)

VELOCITY = 100.0
"""Largest joint speed [rad/s]: PhysX's default, as the MJCF names none."""

NO_LIMIT = 100.0
"""Largest torque of the damping of a joint without motor [N m], out of reach: the MJCF does not limit it."""

FINGERS: dict[str, Vec3] = {
    "ff": (0.033, 0.0, 0.095),
    "mf": (0.011, 0.0, 0.099),
    "rf": (-0.011, 0.0, 0.095),
    "lf": (-0.017, 0.0, 0.044),
}
"""Origin of the knuckle in the palm, for the little finger in its metacarpal [m]."""

COUPLING_RATIO = 0.00805 / 0.00705
"""Angle of J0 per angle of J1: the ratio of the tendon's two pulleys, 1.1418."""

SELF_COLLISIONS = (
    *(("thdistal", link) for link in ("ffdistal", "ffmiddle", "ffproximal", "mfproximal", "mfdistal", "rfdistal")),
    ("thdistal", "lfdistal"),
    ("thdistal", "palm"),
    ("ffdistal", "mfdistal"),
    ("mfdistal", "rfdistal"),
    ("rfdistal", "lfdistal"),
    ("lfdistal", "mfdistal"),
    ("ffproximal", "mfproximal"),
    ("mfproximal", "rfproximal"),
    ("rfproximal", "lfproximal"),
    ("lfdistal", "rfmiddle"),
    ("lfmiddle", "rfdistal"),
    ("lfmiddle", "rfmiddle"),
)
"""The pairs of links that collide with one another; of the palm only its large box, ``collision_0``."""


def _bone(length: float, radius: float, color: Vec3) -> Capsule:
    return Capsule((0.0, 0.0, 0.0), (0.0, 0.0, length), radius, color)


def _body(name: str, mass: float, com: Vec3, inertia: float, axes: Quat, *shapes: Shape) -> Body:
    return Body(name, mass, com, (inertia,) * 3, shapes, axes)


# the base never moves: that its mass is mount and forearm together matters to nobody but the sum of masses
MOUNT = Body(
    "hand_mount",
    mass=0.1 + 4.0,
    com=(0.001, 0.0078, 0.2829),
    inertia=(0.0192, 0.0192, 0.0085),
    shapes=(Capsule((0.0, 0.01, 0.0818), (0.0, 0.01, 0.1904), 0.0677, FOREARM_COLOR, frame="forearm"),),
)

FOREARM = Frame("forearm", "hand_mount", (0.0, 0.01, 0.0))

WRIST_AND_PALM = (
    _body(
        "wrist",
        0.3,
        (0.003, 0.0, 0.016),
        0.001,
        (0.49623, 0.49523, 0.50423, 0.50423),
        Capsule((0.0, 0.01, 0.0), (0.0, -0.01, 0.0), 0.015, KNUCKLE_COLOR),
    ),
    _body(
        "palm",
        0.3,
        (0.006, 0.0, 0.036),
        0.001,
        (0.04399, 0.07498, 0.69284, 0.71583),
        Box((0.011, 0.0, 0.038), (0.032, 0.0111, 0.049), PALM_COLOR),
        Box((-0.032, 0.0, 0.014), (0.011, 0.0111, 0.025), PALM_COLOR),
    ),
)

METACARPAL = _body(
    "lfmetacarpal",
    0.075,
    (-0.014, 0.001, 0.014),
    1e-5,
    (-0.09202, -0.06301, 0.69616, 0.70917),
    Box((-0.0165, 0.0, 0.01), (0.0095, 0.0111, 0.025), PALM_COLOR),
)


def _finger_bodies(finger: str) -> tuple[Body, ...]:
    middle_com = 0.011 if finger == "ff" else 0.012
    return (
        _body(f"{finger}knuckle", 0.008, (0.0, 0.0, 0.0), 1e-5, (0.8541, 0.006, -0.003, 0.52006)),
        _body(
            f"{finger}proximal",
            0.014,
            (0.0, 0.0, 0.023),
            1e-5,
            (-0.004, 0.004, 0.7071, 0.7071),
            _bone(0.045, 0.01, LINK_COLOR),
        ),
        _body(
            f"{finger}middle",
            0.012,
            (0.0, 0.0, middle_com),
            1e-5,
            (0.0, 0.0, 0.70711, 0.70711),
            _bone(0.025, 0.00805, KNUCKLE_COLOR),
        ),
        _body(
            f"{finger}distal",
            0.01,
            (0.0, 0.0, 0.015),
            1e-5,
            (-0.003, 0.003, 0.7071, 0.7071),
            _bone(0.024, 0.00705, TIP_COLOR),
        ),
    )


THUMB_BODIES = (
    _body("thbase", 0.01, (0.0, 0.0, 0.0), 1e-5, (0.0, 0.0, 0.0, 1.0)),
    _body("thproximal", 0.016, (0.0, 0.0, 0.017), 1e-5, (0.0, 0.001, 0.19092, 0.9816), _bone(0.038, 0.013, LINK_COLOR)),
    _body("thhub", 0.002, (0.0, 0.0, 0.0), 1e-5, (0.0, 0.0, 0.0, 1.0)),
    _body(
        "thmiddle", 0.016, (0.0, 0.0, 0.016), 1e-5, (-0.001, -0.007, 0.003, 0.99997), _bone(0.032, 0.011, KNUCKLE_COLOR)
    ),
    _body(
        "thdistal", 0.016, (0.0, 0.0, 0.016), 1e-5, (-0.005, -0.04699, 0.005, 0.99887), _bone(0.026, 0.00918, TIP_COLOR)
    ),
)


def _drive(effort: float | None, stiffness: float = 1.0, damping: float = 0.1, armature: float = 0.001) -> Drive:
    """The MJCF's position servo, or with no effort the bare damping of a joint without motor."""
    if effort is None:
        stiffness, effort = 0.0, NO_LIMIT
    return Drive(stiffness, damping, effort, VELOCITY, friction=0.001, armature=armature)


def _joint(
    name: str,
    parent: str,
    child: str,
    xyz: Vec3,
    axis: Vec3,
    limits: tuple[float, float],
    drive: Drive,
    rpy: Vec3 = (0.0, 0.0, 0.0),
) -> Joint:
    return Joint(name, parent, child, xyz, rpy, *limits, drive, axis)


X, Y = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)

WRIST_JOINTS = (
    _joint("WRJ1", "forearm", "wrist", (0.0, 0.0, 0.256), Y, (-0.489, 0.14), _drive(4.785, 5.0, 0.5, 0.005)),
    _joint("WRJ0", "wrist", "palm", (0.0, 0.0, 0.034), X, (-0.698, 0.489), _drive(2.175, 5.0, 0.5, 0.005)),
)

METACARPAL_JOINT = _joint(
    "LFJ4", "palm", "lfmetacarpal", (-0.017, 0.0, 0.044), (0.571, 0.0, 0.821), (0.0, 0.785), _drive(0.9)
)


def _finger_joints(finger: str) -> tuple[Joint, ...]:
    name, flexion = finger.upper(), (0.0, 1.571)
    base = "lfmetacarpal" if finger == "lf" else "palm"
    return (
        _joint(f"{name}J3", base, f"{finger}knuckle", FINGERS[finger], Y, (-0.349, 0.349), _drive(0.9)),
        _joint(f"{name}J2", f"{finger}knuckle", f"{finger}proximal", (0.0, 0.0, 0.0), X, flexion, _drive(0.9)),
        _joint(f"{name}J1", f"{finger}proximal", f"{finger}middle", (0.0, 0.0, 0.045), X, flexion, _drive(0.7245)),
        _joint(f"{name}J0", f"{finger}middle", f"{finger}distal", (0.0, 0.0, 0.025), X, flexion, _drive(None)),
    )


THUMB_JOINTS = (
    _joint(
        "THJ4",
        "palm",
        "thbase",
        (0.034, -0.009, 0.029),
        (0.0, 0.0, -1.0),
        (-1.047, 1.047),
        _drive(2.3722),
        rpy=(0.0, 0.785, 0.0),
    ),
    _joint("THJ3", "thbase", "thproximal", (0.0, 0.0, 0.0), X, (0.0, 1.222), _drive(1.45)),
    _joint("THJ2", "thproximal", "thhub", (0.0, 0.0, 0.038), X, (-0.209, 0.209), _drive(0.99)),
    _joint("THJ1", "thhub", "thmiddle", (0.0, 0.0, 0.0), Y, (-0.524, 0.524), _drive(0.99)),
    _joint("THJ0", "thmiddle", "thdistal", (0.0, 0.0, 0.032), Y, (-1.571, 0.0), _drive(0.81)),
)

BODIES = (
    MOUNT,
    *WRIST_AND_PALM,
    *(body for finger in ("ff", "mf", "rf") for body in _finger_bodies(finger)),
    METACARPAL,
    *_finger_bodies("lf"),
    *THUMB_BODIES,
)


def _filtered_pairs() -> tuple[tuple[str, str], ...]:
    """All pairs of bodies with shapes except those of ``SELF_COLLISIONS``."""
    allowed = {frozenset(pair) for pair in SELF_COLLISIONS}
    solid = [body.name for body in BODIES if body.shapes]
    pairs = [pair for pair in combinations(solid, 2) if frozenset(pair) not in allowed]
    return (*pairs, ("palm/collision_1", "thdistal"))


SHADOW_HAND = Robot(
    "shadow_hand",
    bodies=BODIES,
    joints=(
        *WRIST_JOINTS,
        *(joint for finger in ("ff", "mf", "rf") for joint in _finger_joints(finger)),
        METACARPAL_JOINT,
        *_finger_joints("lf"),
        *THUMB_JOINTS,
    ),
    frames=(FOREARM,),
    filtered_pairs=_filtered_pairs(),
    couplings=tuple(Coupling(f"{finger.upper()}J0", f"{finger.upper()}J1", COUPLING_RATIO) for finger in FINGERS),
)
"""The hand, base frame ``hand_mount``."""
