"""The tables, the USD made from them and their kinematics."""

import math
import re

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdPhysics, UsdShade

from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.description import IDENTITY, Body, Drive, Frame, Joint, Robot
from sapg_isaaclab.assets.generate import DATA_DIR
from sapg_isaaclab.assets.tables import ALL_TABLES, find_table
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.assets.tables.objects import ALLEGRO_CUBE
from sapg_isaaclab.assets.usd import write

ROOT_POSE = (np.array([0.0, 0.0, 0.5]), np.array([0.28304457, 0.68333003, -0.62178249, 0.25755074]))
FINGERS = ("index", "middle", "ring", "thumb")

# Forward kinematics of the official URDF at four poses: joint angles index 0-3, middle, ring, thumb [rad], then for
# each finger the origin of link_3 and the point (0.05, 0.005, 0) of link_3 (thumb (0.06, 0.005, 0)) in the world [m].
# The numbers come from an independent implementation that agrees with MuJoCo's reading of the same URDF to 1e-15.
FK_VALUES = {
    "zero": (
        [0.0] * 16,
        [(-0.05316, -0.22420, 0.48794), (-0.05753, -0.27426, 0.48823)],
        [(-0.00001, -0.22685, 0.48769), (-0.00002, -0.27709, 0.48796)],
        [(0.05314, -0.22420, 0.48794), (0.05749, -0.27426, 0.48823)],
        [(-0.12330, -0.03426, 0.49265), (-0.18350, -0.03401, 0.49268)],
    ),
    "zero with the thumb at its limit": (
        [0.0] * 12 + [0.27924, 0.0, 0.0, 0.0],
        [(-0.05316, -0.22420, 0.48794), (-0.05753, -0.27426, 0.48823)],
        [(-0.00001, -0.22685, 0.48769), (-0.00002, -0.27709, 0.48796)],
        [(0.05314, -0.22420, 0.48794), (0.05749, -0.27426, 0.48823)],
        [(-0.11780, -0.03749, 0.52172), (-0.17569, -0.03900, 0.53819)],
    ),
    "B": (
        [0.1, 0.5, 0.6, 0.4, -0.1, 0.7, 0.3, 0.5, 0.05, 0.4, 0.8, 0.2, 0.9, 0.3, 0.5, 0.6],
        [(-0.05672, -0.20194, 0.55013), (-0.06159, -0.20478, 0.60006)],
        [(0.00670, -0.20292, 0.55702), (0.01172, -0.20618, 0.60691)],
        [(0.04782, -0.20128, 0.54711), (0.04564, -0.20975, 0.59659)],
        [(-0.07161, -0.06995, 0.57100), (-0.07749, -0.12529, 0.59396)],
    ),
    "C": (
        [-0.2, 0.2, 0.9, 0.7, 0.15, 1.0, 0.6, 0.3, 0.2, 0.6, 0.4, 0.9, 1.2, 0.6, 0.2, 0.9],
        [(-0.04233, -0.20725, 0.53380), (-0.03150, -0.19636, 0.58164)],
        [(-0.01252, -0.17059, 0.57627), (-0.01934, -0.15404, 0.62322)],
        [(0.03836, -0.20421, 0.55166), (0.02751, -0.18849, 0.59814)],
        [(-0.04582, -0.05860, 0.58827), (-0.02882, -0.10913, 0.61625)],
    ),
}


@pytest.mark.parametrize("pose", FK_VALUES)
def test_allegro_kinematics_agree_with_the_urdf(pose):
    angles, *fingers = FK_VALUES[pose]
    poses = kinematics.forward_kinematics(
        ALLEGRO_HAND, dict(zip([joint.name for joint in ALLEGRO_HAND.joints], angles)), ROOT_POSE
    )
    for finger, (origin, tip) in zip(FINGERS, fingers):
        position, quat = poses[f"{finger}_link_3"]
        offset = np.array([0.06 if finger == "thumb" else 0.05, 0.005, 0.0])
        np.testing.assert_allclose(position, origin, atol=1e-5)
        np.testing.assert_allclose(position + kinematics.rotate(quat, offset), tip, atol=1e-5)


def test_allegro_palm_is_where_the_urdf_has_it():
    position, quat = kinematics.forward_kinematics(ALLEGRO_HAND, {}, ROOT_POSE)["palm_link"]
    np.testing.assert_allclose(position, (-0.00878, -0.08242, 0.51270), atol=1e-5)
    np.testing.assert_allclose(quat, (0.03331, 0.03331, -0.70632, 0.70632), atol=1e-5)
    np.testing.assert_allclose(kinematics.rotate(quat, np.array([0.0, 0.0, 1.0])), (0, -0.0941, 0.9956), atol=1e-4)


def test_allegro_joints_are_depth_first_with_their_limits():
    assert [joint.name for joint in ALLEGRO_HAND.joints] == [f"{f}_joint_{i}" for f in FINGERS for i in range(4)]
    limits = {joint.name: (joint.lower, joint.upper) for joint in ALLEGRO_HAND.joints}
    assert limits["ring_joint_0"] == (-0.55849, 0.55849)
    assert limits["index_joint_2"] == (-0.27924, 1.72782)
    assert [limits[f"thumb_joint_{i}"] for i in range(4)] == [
        (0.27924, 1.57075),
        (-0.3316, 1.15188),
        (-0.27924, 1.72782),
        (-0.27924, 1.76273),
    ]


def test_allegro_masses_are_the_urdfs_and_inertias_are_possible():
    # mount + palm, three fingers of 0.143 kg, the thumb
    assert sum(body.mass for body in ALLEGRO_HAND.bodies) == pytest.approx(
        0.05 + 0.4154 + 3 * (0.0119 + 0.065 + 0.0355 + 0.0096 + 0.021) + 0.0176 + 0.0119 + 0.038 + 0.0388 + 0.021
    )
    for body in ALLEGRO_HAND.bodies:
        a, b, c = sorted(body.inertia)
        assert a > 0 and a + b >= c, body.name


def test_cube_mass_and_inertia():
    # 400 kg/m^3 * (0.065 m)^3 = 0.10985 kg; m a^2 / 6 = 7.7353e-5 kg m^2
    assert ALLEGRO_CUBE.body.mass == pytest.approx(0.10985, rel=1e-12)
    assert ALLEGRO_CUBE.body.inertia == pytest.approx((7.735271e-5,) * 3, rel=1e-6)


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_committed_usd_is_what_the_generator_makes(table):
    # numbers up to rounding: the last digit of a sine depends on the processor
    number = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
    committed, made = (DATA_DIR / f"{table.name}.usda").read_text(encoding="utf-8"), write(table)
    hint = "run: python -m sapg_isaaclab.assets.generate"
    assert number.sub("#", committed) == number.sub("#", made), hint
    numbers = [[float(text) for text in number.findall(usd)] for usd in (committed, made)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-6, abs=1e-9), hint


def test_no_usd_without_a_table():
    assert {path.stem for path in DATA_DIR.iterdir()} == {table.name for table in ALL_TABLES}


def test_unknown_asset_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="asset 'cubo' is unknown; the assets are allegro_hand, .*cube_65mm"):
        find_table("cubo")


@pytest.fixture(scope="module")
def hand_stage():
    return Usd.Stage.Open(str(DATA_DIR / "allegro_hand.usda"))


def test_hand_is_fixed_to_the_world_below_the_articulation_root(hand_stage):
    root = hand_stage.GetDefaultPrim()
    assert root.HasAPI(UsdPhysics.ArticulationRootAPI)
    joint = UsdPhysics.FixedJoint(hand_stage.GetPrimAtPath("/allegro_hand/joints/root_joint"))
    assert joint.GetBody0Rel().GetTargets() == []
    assert [str(path) for path in joint.GetBody1Rel().GetTargets()] == ["/allegro_hand/allegro_mount"]


def test_drives_are_force_drives_in_usd_units(hand_stage):
    joints = [UsdPhysics.RevoluteJoint(prim) for prim in hand_stage.Traverse() if prim.IsA(UsdPhysics.RevoluteJoint)]
    assert len(joints) == 16
    for joint in joints:
        prim = joint.GetPrim()
        drive = UsdPhysics.DriveAPI(prim, "angular")
        assert drive.GetTypeAttr().Get() == "force"
        assert drive.GetStiffnessAttr().Get() == pytest.approx(3.0 * math.pi / 180.0)
        assert drive.GetDampingAttr().Get() == pytest.approx(0.1 * math.pi / 180.0)
        assert drive.GetMaxForceAttr().Get() == pytest.approx(0.5)
        assert prim.GetAttribute("physxJoint:armature").Get() == pytest.approx(0.001)
        assert prim.GetAttribute("physxJoint:jointFriction").Get() == pytest.approx(0.01)
        assert prim.GetAttribute("physxJoint:maxJointVelocity").Get() == pytest.approx(math.degrees(6.283))
    thumb = UsdPhysics.RevoluteJoint(hand_stage.GetPrimAtPath("/allegro_hand/joints/thumb_joint_0"))
    assert thumb.GetLowerLimitAttr().Get() == pytest.approx(math.degrees(0.27924))


def test_overlapping_links_never_collide_with_the_palm(hand_stage):
    pairs = UsdPhysics.FilteredPairsAPI(hand_stage.GetPrimAtPath("/allegro_hand/allegro_mount"))
    assert {path.name for path in pairs.GetFilteredPairsRel().GetTargets()} == {
        "index_link_1",
        "middle_link_1",
        "ring_link_1",
        "thumb_link_1",
        "thumb_link_2",
    }


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_collider_has_friction_one(table):
    stage = Usd.Stage.Open(str(DATA_DIR / f"{table.name}.usda"))
    colliders = [prim for prim in stage.Traverse() if prim.HasAPI(UsdPhysics.CollisionAPI)]
    assert colliders
    for prim in colliders:
        material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")
        physics = UsdPhysics.MaterialAPI(material.GetPrim())
        assert physics.GetStaticFrictionAttr().Get() == physics.GetDynamicFrictionAttr().Get() == 1.0
        assert physics.GetRestitutionAttr().Get() == 0.0


def test_usd_bodies_stand_where_the_kinematics_put_them(hand_stage):
    poses = kinematics.forward_kinematics(ALLEGRO_HAND)
    cache = UsdGeom.XformCache()
    for body in ALLEGRO_HAND.bodies:
        matrix = cache.GetLocalToWorldTransform(hand_stage.GetPrimAtPath(f"/allegro_hand/{body.name}"))
        np.testing.assert_allclose(matrix.ExtractTranslation(), poses[body.name][0], atol=1e-6)
        # USD matrices act on row vectors
        x_axis = kinematics.rotate(poses[body.name][1], np.array([1.0, 0.0, 0.0]))
        np.testing.assert_allclose(np.array(matrix)[0, :3], x_axis, atol=1e-6)


def test_kinematics_of_a_tilted_axis_and_a_frame():
    drive = Drive(1.0, 0.1, 1.0, 1.0, 0.0, 0.0)
    robot = Robot(
        "arm",
        bodies=(Body("base", 1.0, (0, 0, 0), (1, 1, 1)), Body("link", 1.0, (0, 0, 0), (1, 1, 1))),
        frames=(Frame("tool", "link", (0.0, 0.0, 1.0)),),
        joints=(Joint("turn", "base", "link", (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), -1.0, 1.0, drive, axis=(-2.0, 0, 0)),),
    )
    # a quarter turn about -x takes z to y
    poses = kinematics.forward_kinematics(robot, {"turn": math.pi / 2})
    np.testing.assert_allclose(poses["tool"][0], (1.0, 1.0, 0.0), atol=1e-12)
    stage = Usd.Stage.CreateInMemory()
    stage.GetRootLayer().ImportFromString(write(robot))
    joint = UsdPhysics.RevoluteJoint(stage.GetPrimAtPath("/arm/joints/turn"))
    rotation = joint.GetLocalRot1Attr().Get()
    quat = np.array([*rotation.GetImaginary(), rotation.GetReal()])
    np.testing.assert_allclose(kinematics.rotate(quat, np.array([0.0, 0.0, 1.0])), (-1.0, 0.0, 0.0), atol=1e-6)
    with pytest.raises(KeyError, match="no joint"):
        kinematics.forward_kinematics(robot, {"twist": 0.0})


@pytest.mark.parametrize("end", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0.3, -0.4, 0.2)])
def test_shortest_rotation_between_directions(end):
    quat = kinematics.quat_between(np.array([0.0, 0.0, 2.0]), np.array(end, dtype=float))
    assert np.linalg.norm(quat) == pytest.approx(1.0)
    turned = kinematics.rotate(quat, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(turned, np.array(end) / np.linalg.norm(end), atol=1e-12)


def test_roll_pitch_yaw_is_urdfs():
    # R_z(90 deg) R_y(0) R_x(90 deg): z goes to -y by the roll, then to x by the yaw
    quat = kinematics.quat_from_rpy((math.pi / 2, 0.0, math.pi / 2))
    np.testing.assert_allclose(kinematics.rotate(quat, np.array([0.0, 0.0, 1.0])), (1.0, 0.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(kinematics.quat_from_rpy((0.0, 0.0, 0.0)), IDENTITY)
