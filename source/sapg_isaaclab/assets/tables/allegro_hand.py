"""Allegro hand with touch-sensor fingertips, fixed base, 16 joints.

Joints, masses and limits are those of the URDF the official code loads (``allegro_touch_sensor.urdf``). As Isaac Gym
does on import, links behind fixed joints are merged: the palm into the mount, each fingertip into its link_3. Shapes
are boxes and capsules fitted to the URDF's collision hulls.

Masses are the URDF's. Its inertia tensors are not: most violate the triangle inequality, which no rigid body can. They
are replaced by those of the collision hull at uniform density, scaled to the mass. The centre of mass is the hull's
too. The URDF puts it on the joint axis, but its tensors are about that axis (index_link_1: 7.96e-5 kg m^2), so hull
inertia and hull centre together give nearly what was simulated there (2.81e-5 + 0.065 * 0.0271^2 = 7.58e-5), while the
hull's inertia on the axis would leave a third of it.

Positive finger angles flex the finger towards the palm normal, +z of ``palm_link``.
"""

from sapg_isaaclab.assets.description import Body, Box, Capsule, Cylinder, Drive, Frame, Joint, Robot

# linear light, see objects.py
PALM_COLOR = (0.015, 0.018, 0.025)
LINK_COLOR = (0.16, 0.17, 0.19)
KNUCKLE_COLOR = (0.04, 0.045, 0.055)
TIP_COLOR = (0.55, 0.53, 0.48)

DRIVE = Drive(stiffness=3.0, damping=0.1, effort=0.5, velocity=6.283, friction=0.01, armature=0.001)
"""Drive of every joint in the official task; velocity limit from the URDF."""

# origin of joint 0 in palm_link of the three like fingers: xyz [m], rpy [rad] (the URDF truncates pi and pi / 2)
FINGERS = {
    "index": ((0.05143, -0.03632, -0.0113), (3.1415, -1.57075, -0.0872639)),
    "middle": ((0.053738, 0.008777, -0.0113), (3.1415, -1.57075, 0.0)),
    "ring": ((0.05143, 0.053875, -0.0113), (3.1415, -1.57075, 0.0872639)),
}

ROOT = Body(
    "allegro_mount",
    mass=0.4654,
    com=(-0.007336, -0.018414, 0.072173),
    inertia=(5.1079e-4, 4.9481e-4, 2.2201e-4),
    shapes=(
        Cylinder((0.0, 0.0, 0.0115), radius=0.038, half_length=0.0115, color=KNUCKLE_COLOR),
        Box((-0.0079, 0.0088, -0.0204), (0.0491, 0.0550, 0.0204), PALM_COLOR, frame="palm_link"),
        Box((-0.0048, 0.0088, -0.0690), (0.0437, 0.0556, 0.0293), PALM_COLOR, frame="palm_link"),
    ),
)

PALM = Frame("palm_link", "allegro_mount", (-0.008219, -0.02063, 0.08086), (0.0, -1.5708, 0.785398))


def _finger_bodies(finger: str) -> tuple[Body, ...]:
    return (
        Body(
            f"{finger}_link_0",
            mass=0.0119,
            com=(-0.001, 0.0, -0.0057),
            inertia=(1.16e-06, 7.63e-07, 1.05e-06),
            shapes=(Box((-0.0006, 0.0, -0.0051), (0.0092, 0.0134, 0.0106), KNUCKLE_COLOR),),
        ),
        Body(
            f"{finger}_link_1",
            mass=0.065,
            com=(0.027, -0.0025, 0.0),
            inertia=(7.19e-06, 2.91e-05, 2.81e-05),
            shapes=(Box((0.0270, -0.0024, 0.0), (0.0349, 0.0122, 0.0138), LINK_COLOR),),
        ),
        Body(
            f"{finger}_link_2",
            mass=0.0355,
            com=(0.0216, -0.0023, 0.0),
            inertia=(3.77e-06, 9.31e-06, 8.58e-06),
            shapes=(Box((0.0209, -0.0024, 0.0), (0.0257, 0.0117, 0.0139), KNUCKLE_COLOR),),
        ),
        Body(
            f"{finger}_link_3",
            mass=0.0096 + 0.021,  # with the touch-sensor tip
            com=(0.0217, 0.0013, 0.0),
            inertia=(2.5e-06, 1.07e-05, 1.03e-05),
            shapes=(
                Box((0.0141, -0.0008, 0.0), (0.0204, 0.0089, 0.0132), LINK_COLOR),
                Capsule((0.0395, 0.0021, 0.0), (0.0558, 0.0073, 0.0), 0.0070, TIP_COLOR),
            ),
        ),
    )


THUMB_BODIES = (
    Body(
        "thumb_link_0",
        mass=0.0176,
        com=(0.0079, -0.0132, -0.0097),
        inertia=(4.87e-06, 3.6e-06, 4.01e-06),
        shapes=(Box((0.0088, -0.0146, -0.0101), (0.0159, 0.0222, 0.0196), KNUCKLE_COLOR),),
    ),
    Body(
        "thumb_link_1",
        mass=0.0119,
        com=(0.0, 0.001, 0.0497),
        inertia=(7.63e-07, 1.16e-06, 1.05e-06),
        shapes=(Box((0.0, 0.0006, 0.0503), (0.0135, 0.0092, 0.0106), LINK_COLOR),),
    ),
    Body(
        "thumb_link_2",
        mass=0.038,
        com=(0.0226, -0.0023, 0.0),
        inertia=(4e-06, 1.44e-05, 1.35e-05),
        shapes=(Box((0.0241, -0.0022, 0.0), (0.0323, 0.0114, 0.0139), KNUCKLE_COLOR),),
    ),
    Body(
        "thumb_link_3",
        mass=0.0388 + 0.021,  # with the touch-sensor tip
        com=(0.0259, 0.0002, -0.0001),
        inertia=(6.08e-06, 3.09e-05, 3.05e-05),
        shapes=(
            Box((0.0197, -0.0017, 0.0), (0.0295, 0.0111, 0.0136), LINK_COLOR),
            Capsule((0.0548, 0.0018, 0.0), (0.0710, 0.0069, 0.0), 0.0071, TIP_COLOR),
        ),
    ),
)


def _joint(finger: str, index: int, xyz, rpy, lower: float, upper: float) -> Joint:
    parent = "palm_link" if index == 0 else f"{finger}_link_{index - 1}"
    return Joint(f"{finger}_joint_{index}", parent, f"{finger}_link_{index}", xyz, rpy, lower, upper, DRIVE)


def _finger_joints(finger: str) -> tuple[Joint, ...]:
    return (
        _joint(finger, 0, *FINGERS[finger], -0.55849, 0.55849),
        _joint(finger, 1, (0.0, 0.0, 0.0), (3.1415, -1.57075, 1.57075), -0.27924, 1.72782),
        _joint(finger, 2, (0.054, 0.0, 0.0), (0.0, 0.0, 0.0), -0.27924, 1.72782),
        _joint(finger, 3, (0.0384, 0.0, 0.0), (0.0, 0.0, 0.0), -0.27924, 1.72782),
    )


THUMB_JOINTS = (
    _joint("thumb", 0, (-0.036748, -0.008128, -0.0295), (-1.57075, -1.57075, 1.4834861), 0.27924, 1.57075),
    _joint("thumb", 1, (0.005, 0.0, 0.0), (1.57075, 0.0, 0.0), -0.3316, 1.15188),
    _joint("thumb", 2, (0.0, 0.0, 0.0554), (3.1415, -1.57075, 0.0), -0.27924, 1.72782),
    _joint("thumb", 3, (0.0514, 0.0, 0.0), (0.0, 0.0, 0.0), -0.27924, 1.76273),
)

ALLEGRO_HAND = Robot(
    "allegro_hand",
    bodies=(ROOT, *(body for finger in FINGERS for body in _finger_bodies(finger)), *THUMB_BODIES),
    joints=(*(joint for finger in FINGERS for joint in _finger_joints(finger)), *THUMB_JOINTS),
    frames=(PALM,),
    # the boxes of these links overlap in most poses although the real links never meet
    filtered_pairs=tuple(
        ("allegro_mount", link)
        for link in ("index_link_1", "middle_link_1", "ring_link_1", "thumb_link_1", "thumb_link_2")
    ),
)
"""The hand, base frame ``allegro_mount``."""
