"""The table of the Shadow hand, the USD made from it, and the task's registration."""

import math
from importlib.resources import files

import gymnasium as gym
import numpy as np
import pytest
import yaml
from pxr import Usd, UsdPhysics

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.description import Box, Capsule
from sapg_isaaclab.assets.generate import DATA_DIR
from sapg_isaaclab.assets.tables.objects import SHADOW_CUBE
from sapg_isaaclab.assets.tables.shadow_hand import COUPLING_RATIO, SELF_COLLISIONS, SHADOW_HAND

TASK_ID = "SAPG-Shadow-Reorient"
ROOT_POSE = (np.array([0.0, 0.0, 0.5]), np.array([0.0, -math.sqrt(0.5), math.sqrt(0.5), 0.0]))
JOINTS = [joint.name for joint in SHADOW_HAND.joints]
LINKS = ("palm", "ffdistal", "mfdistal", "rfdistal", "lfdistal", "thdistal")

# Forward kinematics of the MJCF at three poses: joint angles in the table's order [rad] (B and C disregard the
# coupling), then origins of LINKS, the tips (0, 0, 0.026) of ffdistal and (0, 0, 0.0275) of thdistal in the world [m],
# and the palm's quaternion. The numbers come from an independent implementation that agrees with MuJoCo's.
# fmt: off
FK_VALUES = {
    "zero": (
        [0.0] * 24,
        [(0, -0.29, 0.49), (-0.033, -0.455, 0.49), (-0.011, -0.459, 0.49), (0.011, -0.455, 0.49),
         (0.034, -0.448, 0.49), (-0.08348, -0.36852, 0.499)],
        [(-0.033, -0.481, 0.49), (-0.10292, -0.38797, 0.499)],
        (0, -0.70711, 0.70711, 0),
    ),
    "B": (
        [-0.1, 0.2, 0.1, 0.6, 0.5, 0.4, 0.05, 0.7, 0.3, 0.3, -0.05, 0.5, 0.6, 0.5, 0.3, -0.1, 0.4, 0.7, 0.6,
         0.5, 0.6, 0.1, -0.2, -0.5],
        [(0.00339, -0.28983, 0.49), (-0.02119, -0.42386, 0.56519), (0.00344, -0.42450, 0.56821),
         (0.03026, -0.42196, 0.56194), (0.04191, -0.40400, 0.57474), (-0.04379, -0.37100, 0.54879)],
        [(-0.02171, -0.42054, 0.59098), (-0.03701, -0.39619, 0.55748)],
        (-0.03164, 0.63219, -0.77320, 0.03869),
    ),
    "C": (
        [0.1, -0.4, -0.2, 1.0, 0.2, 0.2, -0.1, 0.3, 0.9, 0.8, 0.1, 1.1, 0.4, 0.3, 0.6, 0.2, 0.8, 0.3, 0.3,
         -0.4, 1.0, -0.1, 0.3, -0.9],
        [(-0.00339, -0.28983, 0.49), (-0.04375, -0.42794, 0.49661), (-0.02446, -0.44162, 0.46499),
         (-0.00795, -0.42320, 0.50432), (-0.02395, -0.41651, 0.51907), (-0.09195, -0.33597, 0.52855)],
        [(-0.04427, -0.44192, 0.51852), (-0.09895, -0.35811, 0.54328)],
        (-0.04166, -0.83245, 0.55184, 0.02762),
    ),
}
# fmt: on


@pytest.mark.parametrize("pose", FK_VALUES)
def test_kinematics_agree_with_the_mjcf(pose):
    angles, origins, tips, palm_quat = FK_VALUES[pose]
    poses = kinematics.forward_kinematics(SHADOW_HAND, dict(zip(JOINTS, angles)), ROOT_POSE)
    # both sides are rounded to five digits
    for link, origin in zip(LINKS, origins):
        np.testing.assert_allclose(poses[link][0], origin, atol=1e-5)
    for (link, length), tip in zip((("ffdistal", 0.026), ("thdistal", 0.0275)), tips):
        position, quat = poses[link]
        np.testing.assert_allclose(position + kinematics.rotate(quat, np.array([0, 0, length])), tip, atol=1e-5)
    assert abs(np.dot(poses["palm"][1], palm_quat)) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(poses["forearm"][0], (0.0, 0.0, 0.49), atol=1e-9)


def test_joints_are_in_the_official_order_with_their_limits():
    fingers = [f"{finger}J{i}" for finger in ("FF", "MF", "RF") for i in (3, 2, 1, 0)]
    little, thumb = [f"LFJ{i}" for i in (4, 3, 2, 1, 0)], [f"THJ{i}" for i in (4, 3, 2, 1, 0)]
    assert ["WRJ1", "WRJ0", *fingers, *little, *thumb] == JOINTS
    limits = {joint.name: (joint.lower, joint.upper) for joint in SHADOW_HAND.joints}
    assert limits["WRJ1"] == (-0.489, 0.14) and limits["WRJ0"] == (-0.698, 0.489)
    assert all(limits[f"{finger}J3"] == (-0.349, 0.349) for finger in ("FF", "MF", "RF", "LF"))
    assert all(limits[f"{finger}J{i}"] == (0.0, 1.571) for finger in ("FF", "MF", "RF", "LF") for i in (0, 1, 2))
    assert limits["LFJ4"] == (0.0, 0.785)
    assert [limits[name] for name in thumb] == [
        (-1.047, 1.047),
        (0.0, 1.222),
        (-0.209, 0.209),
        (-0.524, 0.524),
        (-1.571, 0.0),
    ]


def test_drives_are_the_mjcfs_servos():
    drives = {joint.name: joint.drive for joint in SHADOW_HAND.joints}
    motors = [name for name in JOINTS if drives[name].stiffness > 0.0]
    assert len(motors) == 20 and not {"FFJ0", "MFJ0", "RFJ0", "LFJ0"} & set(motors)
    efforts = [4.785, 2.175] + [0.9, 0.9, 0.7245] * 3 + [0.9, 0.9, 0.9, 0.7245] + [2.3722, 1.45, 0.99, 0.99, 0.81]
    assert [drives[name].effort for name in motors] == efforts
    for name, drive in drives.items():
        wrist = name.startswith("WR")
        expected = (5.0, 0.5, 0.005) if wrist else (1.0 if name in motors else 0.0, 0.1, 0.001)
        assert (drive.stiffness, drive.damping, drive.armature) == expected
        assert drive.friction == 0.001


def test_masses_and_shapes_are_the_mjcfs():
    # mount, forearm, wrist, palm, metacarpal, four fingers, thumb
    assert sum(body.mass for body in SHADOW_HAND.bodies) == pytest.approx(
        0.1 + 4.0 + 0.3 + 0.3 + 0.075 + 4 * (0.008 + 0.014 + 0.012 + 0.01) + 0.01 + 0.016 + 0.002 + 0.016 + 0.016
    )
    for body in SHADOW_HAND.bodies:
        a, b, c = sorted(body.inertia)
        assert a > 0 and a + b >= c, body.name
        assert np.linalg.norm(body.principal_axes) == pytest.approx(1.0, abs=1e-4)
    bodies = {body.name: body for body in SHADOW_HAND.bodies}
    assert sum(len(body.shapes) for body in SHADOW_HAND.bodies) == 20
    for name, radius, half in (("rfproximal", 0.01, 0.0225), ("lfdistal", 0.00705, 0.012), ("thmiddle", 0.011, 0.016)):
        (capsule,) = bodies[name].shapes
        assert isinstance(capsule, Capsule) and capsule.radius == radius
        np.testing.assert_allclose(np.array(capsule.start) + capsule.end, (0.0, 0.0, 2 * half))
    assert all(isinstance(shape, Box) for shape in bodies["palm"].shapes)


def test_cube_mass():
    # 567 kg/m^3 * (0.05 m)^3
    assert SHADOW_CUBE.body.mass == pytest.approx(0.070875, rel=1e-12)


@pytest.fixture(scope="module")
def stage():
    return Usd.Stage.Open(str(DATA_DIR / "shadow_hand.usda"))


def test_only_the_listed_links_collide_with_one_another(stage):
    solid = {body.name for body in SHADOW_HAND.bodies if body.shapes}
    assert len(solid) == 19
    filtered = set()
    for prim in stage.Traverse():
        targets = UsdPhysics.FilteredPairsAPI(prim).GetFilteredPairsRel()
        if prim.HasAPI(UsdPhysics.FilteredPairsAPI):
            path = str(prim.GetPath().MakeRelativePath("/shadow_hand"))
            filtered |= {frozenset((path, target.name)) for target in targets.GetTargets()}
    allowed = {frozenset(pair) for pair in SELF_COLLISIONS}
    assert len(allowed) == 18
    # the palm's small box belongs to no listed pair
    assert frozenset(("palm/collision_1", "thdistal")) in filtered
    pairs = {frozenset((a, b)) for a in solid for b in solid if a != b}
    assert filtered - {frozenset(("palm/collision_1", "thdistal"))} == pairs - allowed
    for joint in SHADOW_HAND.joints:
        assert frozenset((joint.parent, joint.child)) not in allowed


def applied(prim):
    """Names of all schemas applied to a prim, also of those that plain USD does not know."""
    schemas = prim.GetMetadata("apiSchemas")
    return [*schemas.explicitItems, *schemas.prependedItems] if schemas else []


def test_distal_joints_mimic_the_middle_ones(stage):
    assert pytest.approx(1.1418, abs=1e-4) == COUPLING_RATIO
    for finger in ("FF", "MF", "RF", "LF"):
        prim = stage.GetPrimAtPath(f"/shadow_hand/joints/{finger}J0")
        assert "PhysxMimicJointAPI:rotZ" in applied(prim)
        (leader,) = prim.GetRelationship("physxMimicJoint:rotZ:referenceJoint").GetTargets()
        assert leader.name == f"{finger}J1"
        assert prim.GetAttribute("physxMimicJoint:rotZ:gearing").Get() == pytest.approx(-COUPLING_RATIO)
        assert prim.GetAttribute("physxMimicJoint:rotZ:offset").Get() == 0.0
    assert sum("PhysxMimicJointAPI:rotZ" in applied(prim) for prim in stage.Traverse()) == 4


def test_registration_and_skrl_configuration():
    kwargs = gym.spec(TASK_ID).kwargs
    assert kwargs["env_cfg_entry_point"] == "sapg_isaaclab.tasks.in_hand.env_cfg:ShadowReorientEnvCfg"
    assert kwargs["agent_options_entry_point"] == "sapg_isaaclab.tasks.in_hand.agents.shadow:SHADOW_REORIENT"
    module, path = kwargs["skrl_cfg_entry_point"].split(":")
    cfg = yaml.safe_load(files(module).joinpath(path).read_text())
    assert [net["layers"] for net in cfg["models"]["policy"]["network"]] == [[512, 512, 256, 128]]
    assert cfg["agent"]["rollouts"] == 8 and cfg["agent"]["learning_rate"] == 5.0e-4
    assert cfg["agent"]["experiment"]["directory"] == "sapg_shadow_reorient"


def test_agent_has_the_papers_sizes_and_a_small_preset():
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    presets = load_cfg_from_registry(TASK_ID, "sapg_cfg_entry_point")
    assert presets.default.hidden_sizes == (512, 512, 256, 128)
    assert (presets.default.ratio_clip, presets.paper.ratio_clip) == (0.2, 0.1)
    assert presets.default.entropy_loss_scale == 0.005
    assert presets.small.num_blocks == 6 and presets.small.hidden_sizes == (256, 128, 64)
