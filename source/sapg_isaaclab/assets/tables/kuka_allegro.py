"""Kuka iiwa7 arm with an Allegro hand, fixed base, 23 joints.

Joints, masses and limits are those of the URDF the official code loads (``kuka_allegro_touch_sensor.urdf``). As Isaac
Gym does on import, links behind fixed joints are merged: end effector, mount and palm into ``iiwa7_link_7``. Shapes are
boxes, capsules and cylinders fitted to the URDF's collision hulls. Unlike the stand-alone hand this one has no
fingertips of its own: the fingertip points of the tasks lie 13 mm (thumb 8 mm) beyond the last shape.

Three finger tensors of the URDF are impossible (negative or violating the triangle inequality): those of the links 1, 2
and 3 of index, middle and ring. They are replaced by the collision hull's at uniform density, scaled to the mass; mass
and centre of mass stay the URDF's. All other tensors are the URDF's.

Positive finger angles flex the finger towards the palm normal, +z of ``palm_link``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sapg_isaaclab.assets.description import Body, Box, Capsule, Cylinder, Drive, Frame, Joint, Quat, Robot, Shape, Vec3
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND, KNUCKLE_COLOR, PALM_COLOR

# linear light, see objects.py
ARM_COLOR: Vec3 = (0.50, 0.50, 0.48)
JOINT_COLOR: Vec3 = (0.75, 0.16, 0.01)

ARM_DRIVE = Drive(stiffness=40.0, damping=5.0, effort=300.0, velocity=10.0, friction=0.025, armature=0.001)
"""Drive of the seven arm joints in the official tasks; velocity limit and friction from the URDF."""

HAND_DRIVE = Drive(stiffness=40.0, damping=5.0, effort=0.35, velocity=6.283, friction=0.035, armature=0.001)
"""Drive of the 16 hand joints in the official tasks; velocity limit and friction (here the thumb's) from the URDF.

The damping is part of the clamped torque: at 0.35 N m a joint that were damped outside the clamp could not exceed
0.07 rad/s. The official armature is 0. With 0 PhysX lets a finger that should give way by 2.3 mrad under 1 N give way
by 60 mrad, and joints leave their limits by 0.18 rad under changing actions; with 0.001 kg m^2 it is 3.4 mrad and
0.0002 rad.
"""

FINGER_FRICTION = (0.0523963, 0.0150275, 0.0061636, 0.0227036)
"""Joint friction of index, middle and ring, from the palm outwards (URDF)."""


def _principal(inertia: tuple[float, ...]) -> tuple[Vec3, Quat]:
    """Principal moments and axes (xyzw) of a tensor given as xx, yy, zz, xy, xz, yz [kg m^2]."""
    xx, yy, zz, xy, xz, yz = inertia
    moments, axes = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    axes[:, 0] *= np.sign(np.linalg.det(axes))  # right-handed
    # quaternion of a rotation matrix by its eigenvector: stable at any angle
    m = axes
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    quat = np.linalg.eigh(k)[1][:, -1]
    quat *= 1.0 if quat[3] >= 0.0 else -1.0
    return tuple(float(value) for value in moments), tuple(float(value) for value in quat)


def _arm_body(index: int, mass: float, com: Vec3, inertia: tuple[float, ...], *shapes: Shape) -> Body:
    moments, axes = _principal(inertia)
    return Body(f"iiwa7_link_{index}", mass, com, moments, shapes, principal_axes=axes)


ARM_BODIES = (
    _arm_body(
        0,
        5.0,
        (-0.1, 0.0, 0.07),
        (0.05, 0.06, 0.03, 0.0, 0.0, 0.0),
        Box((-0.0146, 0.0, 0.0780), (0.0977, 0.0850, 0.0779), ARM_COLOR),
    ),
    _arm_body(
        1,
        3.4525,
        (0.0, -0.03, 0.12),
        (0.02183, 0.007703, 0.02083, 0.0, 0.0, -0.003887),
        Capsule((0.0, -0.0428, 0.1855), (0.0, -0.0085, 0.0497), 0.0700, JOINT_COLOR),
    ),
    _arm_body(
        2,
        3.4821,
        (0.0003, 0.059, 0.042),
        (0.02076, 0.02179, 0.00779, 0.0, -0.003626, 0.0),
        Capsule((0.0, 0.1403, 0.0088), (0.0, 0.0055, 0.0427), 0.0699, ARM_COLOR),
    ),
    _arm_body(
        3,
        4.05623,
        (0.0, 0.03, 0.13),
        (0.03204, 0.00972, 0.03042, 0.0, 0.0, 0.006227),
        Capsule((0.0, 0.0425, 0.1837), (0.0, 0.0047, 0.0163), 0.0702, JOINT_COLOR),
    ),
    _arm_body(
        4,
        3.4822,
        (0.0, 0.067, 0.034),
        (0.02178, 0.02075, 0.007785, 0.0, 0.0, -0.003625),
        Capsule((0.0, 0.1409, 0.0087), (0.0, 0.0053, 0.0426), 0.0699, ARM_COLOR),
    ),
    _arm_body(
        5,
        2.1633,
        (0.0001, 0.021, 0.076),
        (0.01287, 0.005708, 0.01112, 0.0, 0.0, -0.003946),
        Capsule((0.0, -0.0033, 0.0097), (0.0, 0.0081, 0.0155), 0.0654, JOINT_COLOR),
        Capsule((0.0, 0.0545, 0.0738), (0.0, 0.0706, 0.2027), 0.0355, JOINT_COLOR),
    ),
    _arm_body(
        6,
        2.3466,
        (0.0, 0.0006, 0.0004),
        (0.006509, 0.006259, 0.004527, 0.0, 0.0, 0.00031891),
        Capsule((0.0, 0.0302, 0.0551), (0.0, -0.0219, 0.0635), 0.0658, ARM_COLOR),
    ),
    _arm_body(
        7,  # with end effector, mount and palm
        3.6944,
        (0.000924, -0.002320, 0.036897),
        (0.022555, 0.022433, 0.0042538, 0.00065371, -0.0003925, 0.0009852),
        Cylinder((0.0, 0.0, 0.0350), radius=0.048, half_length=0.0355, color=JOINT_COLOR),
        Cylinder((0.0, 0.0, 0.0115), radius=0.038, half_length=0.0115, color=KNUCKLE_COLOR, frame="allegro_mount"),
        Box((-0.0079, 0.0088, -0.0204), (0.0491, 0.0550, 0.0204), PALM_COLOR, frame="palm_link"),
        Box((-0.0048, 0.0088, -0.0690), (0.0437, 0.0556, 0.0293), PALM_COLOR, frame="palm_link"),
    ),
)

FRAMES = (
    Frame("iiwa7_link_ee", "iiwa7_link_7", (0.0, 0.0, 0.071)),
    Frame("allegro_mount", "iiwa7_link_ee", (0.0, 0.0, 0.0)),
    # the stand-alone hand has its palm at -0.008219
    Frame("palm_link", "allegro_mount", (0.008219, -0.02063, 0.08086), (0.0, -1.5708, 0.785398)),
)

# xyz [m], rpy [rad], limit [rad] on both sides
ARM_JOINTS = tuple(
    Joint(
        f"iiwa7_joint_{index + 1}",
        f"iiwa7_link_{index}",
        f"iiwa7_link_{index + 1}",
        xyz,
        rpy,
        -limit,
        limit,
        ARM_DRIVE,
    )
    for index, (xyz, rpy, limit) in enumerate(
        (
            ((0.0, 0.0, 0.15), (0.0, 0.0, 0.0), 2.96706),
            ((0.0, 0.0, 0.19), (1.5707963, 0.0, 3.1415927), 2.0944),
            ((0.0, 0.21, 0.0), (1.5707963, 0.0, 3.1415927), 2.96706),
            ((0.0, 0.0, 0.19), (1.5707963, 0.0, 0.0), 2.0944),
            ((0.0, 0.21, 0.0), (-1.5707963, 3.1415927, 0.0), 2.96706),
            ((0.0, 0.0607, 0.19), (1.5707963, 0.0, 0.0), 2.0944),
            ((0.0, 0.081, 0.0607), (-1.5707963, 3.1415927, 0.0), 3.05433),
        )
    )
)

# link of index, middle and ring: mass [kg], centre of mass [m], inertia [kg m^2]
FINGER_MASSES: tuple[tuple[float, Vec3, Vec3], ...] = (
    (0.005, (0.0, 0.0, 0.0), (5.1458e-05, 5.1458e-05, 6.125e-05)),
    (0.125164, (0.027, 0.0, 0.0), (1.39e-05, 5.6e-05, 5.42e-05)),
    (0.131691, (0.039, 0.0, 0.0), (1.4e-05, 3.45e-05, 3.18e-05)),
    (0.0211922, (0.029, 0.0, 0.0), (1.73e-06, 3.89e-06, 3.27e-06)),
)

THUMB_MASS: tuple[float, Vec3, Vec3] = (0.1, (0.0, 0.0, 0.0), (5.1458e-05, 5.1458e-05, 6.125e-05))
"""Every link of the thumb, as in the URDF."""


def _hand_body(body: Body) -> Body:
    """The stand-alone hand's link without its tip and with this URDF's masses."""
    finger, index = body.name.split("_link_")
    mass, com, inertia = THUMB_MASS if finger == "thumb" else FINGER_MASSES[int(index)]
    shapes = tuple(shape for shape in body.shapes if isinstance(shape, Box))
    return Body(body.name, mass, com, inertia, shapes)


def _hand_joint(joint: Joint) -> Joint:
    """The stand-alone hand's joint with this robot's drive."""
    finger, index = joint.name.split("_joint_")
    friction = HAND_DRIVE.friction if finger == "thumb" else FINGER_FRICTION[int(index)]
    return replace(joint, drive=replace(HAND_DRIVE, friction=friction))


KUKA_ALLEGRO = Robot(
    "kuka_allegro",
    bodies=(*ARM_BODIES, *(_hand_body(body) for body in ALLEGRO_HAND.bodies[1:])),
    joints=(*ARM_JOINTS, *(_hand_joint(joint) for joint in ALLEGRO_HAND.joints)),
    frames=FRAMES,
    # the boxes of these links overlap in most poses although the real links never meet
    filtered_pairs=tuple(
        ("iiwa7_link_7", link)
        for link in ("index_link_1", "middle_link_1", "ring_link_1", "thumb_link_1", "thumb_link_2")
    ),
)
"""Arm and hand, base frame ``iiwa7_link_0``."""
