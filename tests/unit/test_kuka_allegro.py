"""The table of the arm with the hand, and the bucket."""

import math

import numpy as np
import pytest

from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.description import Box
from sapg_isaaclab.assets.tables.bucket import BUCKET
from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO

BASE = (np.array([0.0, 0.8, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))
NAMES = [joint.name for joint in KUKA_ALLEGRO.joints]
FINGERS = ("index", "middle", "ring", "thumb")

# Forward kinematics of the official URDF, from an independent implementation that agrees with MuJoCo's reading of it:
# joint angles, then palm centre, palm_link origin and the fingertip points in the environment frame
VALUES = {
    "task default": (
        [-1.571, 1.571, 0.0, 1.376, 0.0, 1.485, 2.358, *[0.0] * 16],
        (0.01402, 0.08446, 0.69204),
        (0.02027, 0.09197, 0.69827),
        [(0.06897, -0.10087, 0.68356), (0.01146, -0.10368, 0.68315), (-0.04605, -0.10083, 0.68336)],
        (0.19496, 0.13527, 0.72797),
    ),
    "B": (
        [
            *(0.3, -0.6, 0.2, 1.1, -0.4, 0.7, -1.2, 0.1, 0.5, 0.6, 0.4, -0.1),
            *(0.7, 0.3, 0.5, 0.05, 0.4, 0.8, 0.2, 0.9, 0.3, 0.5, 0.6),
        ],
        (-0.73361, 0.41135, 0.73153),
        (-0.72314, 0.40935, 0.72698),
        [(-0.85919, 0.33313, 0.69423), (-0.87901, 0.39258, 0.73291), (-0.88132, 0.41413, 0.76118)],
        (-0.79475, 0.35965, 0.65238),
    ),
    "C": (
        [
            *(-1.0, 0.9, 0.5, -1.3, 0.8, -0.9, 1.5, -0.2, 0.2, 0.9, 0.7, 0.15),
            *(1.0, 0.6, 0.3, 0.2, 0.6, 0.4, 0.9, 1.2, 0.6, 0.2, 0.9),
        ],
        (0.56700, 0.16436, 0.35565),
        (0.57019, 0.17318, 0.36243),
        [(0.62915, 0.08697, 0.27674), (0.60763, 0.13211, 0.24257), (0.57148, 0.08168, 0.25523)],
        (0.60319, 0.17539, 0.25878),
    ),
    "zero": (
        [0.0] * 23,
        (0.0, 0.78, 1.381),
        (0.00822, 0.77937, 1.37286),
        [(0.04715, 0.74936, 1.56615), (0.00649, 0.79002, 1.56900), (-0.03418, 0.83069, 1.56615)],
        (0.14909, 0.67313, 1.32655),
    ),
}


@pytest.mark.parametrize("pose", VALUES)
def test_kinematics_agree_with_the_urdf(pose):
    angles, palm_center, palm_link, tips, thumb = VALUES[pose]
    poses = kinematics.forward_kinematics(KUKA_ALLEGRO, dict(zip(NAMES, angles)), BASE)
    position, quat = poses["iiwa7_link_7"]
    np.testing.assert_allclose(position + kinematics.rotate(quat, np.array([0, -0.02, 0.16])), palm_center, atol=1e-5)
    np.testing.assert_allclose(poses["palm_link"][0], palm_link, atol=1e-5)
    for finger, expected in zip(FINGERS, (*tips, thumb)):
        position, quat = poses[f"{finger}_link_3"]
        offset = np.array([0.06 if finger == "thumb" else 0.05, 0.005, 0.0])
        np.testing.assert_allclose(position + kinematics.rotate(quat, offset), expected, atol=1e-5)


def test_joints_are_the_arms_then_the_fingers():
    assert NAMES[:7] == [f"iiwa7_joint_{i}" for i in range(1, 8)]
    assert NAMES[7:] == [f"{finger}_joint_{i}" for finger in FINGERS for i in range(4)]


def test_masses_and_inertias_are_those_of_rigid_bodies():
    # the URDF's sum: arm, what is merged into link 7, three fingers, the thumb
    arm = 5 + 3.4525 + 3.4821 + 4.05623 + 3.4822 + 2.1633 + 2.3466 + 3.129
    merged, finger, thumb = 0.1 + 0.05 + 0.4154, 0.005 + 0.125164 + 0.131691 + 0.0211922, 0.4
    total = sum(body.mass for body in KUKA_ALLEGRO.bodies)
    assert total == pytest.approx(arm + merged + 3 * finger + thumb)
    for body in KUKA_ALLEGRO.bodies:
        a, b, c = sorted(body.inertia)
        assert a > 0 and a + b >= c * (1 - 1e-9), body.name
        assert np.linalg.norm(body.principal_axes) == pytest.approx(1.0)


def test_principal_axes_give_back_the_urdfs_tensor():
    bodies = {body.name: body for body in KUKA_ALLEGRO.bodies}
    body = bodies["iiwa7_link_1"]
    axes = np.stack([kinematics.rotate(np.array(body.principal_axes), axis) for axis in np.eye(3)], axis=1)
    expected = [[0.02183, 0, 0], [0, 0.007703, -0.003887], [0, -0.003887, 0.02083]]
    np.testing.assert_allclose(axes @ np.diag(body.inertia) @ axes.T, expected, atol=1e-9)


def test_bucket_walls_lean_outwards_around_a_cavity():
    walls = [shape for shape in BUCKET.body.shapes if isinstance(shape, Box)]
    assert len(walls) == 12 and len(BUCKET.body.shapes) == 13
    for wall in walls:
        center, quat = np.array(wall.center), kinematics.quat_from_rpy(wall.rpy)
        outwards = (center - (0.0, -0.002, 0.0)) * (1, 1, 0)
        radial, up = kinematics.rotate(quat, np.eye(3)[0]), kinematics.rotate(quat, np.eye(3)[2])
        assert radial @ outwards == pytest.approx(0.0903 * math.cos(math.radians(10.1)))
        assert up @ outwards == pytest.approx(0.0903 * math.sin(math.radians(10.1)))
        top, bottom = center + 0.1004 * up, center - 0.1004 * up
        assert top[2] == pytest.approx(0.1977, abs=5e-4) and bottom[2] == pytest.approx(0.0, abs=5e-4)
        # an 0.14 m wide opening at the bottom, 0.2 m at the top
        inner = [np.linalg.norm((point - 0.00705 * radial - (0.0, -0.002, 0.0))[:2]) for point in (bottom, top)]
        assert inner == pytest.approx([0.0657, 0.1010], abs=1e-3)
