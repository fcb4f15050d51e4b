"""SAPG-Shadow-Reorient on real physics: coupled joints, sensors, observation, collisions."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg
from scipy.spatial.transform import Rotation
from sim_env import hold_actions, place_object

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.tables.shadow_hand import COUPLING_RATIO, SHADOW_HAND

TASK_ID = "SAPG-Shadow-Reorient"
NUM_ENVS = 8
JOINTS = [joint.name for joint in SHADOW_HAND.joints]
MOTORS = [name for name in JOINTS if name not in ("FFJ0", "MFJ0", "RFJ0", "LFJ0")]
FINGERTIPS = ["ffdistal", "mfdistal", "rfdistal", "lfdistal", "thdistal"]
LOWER = torch.tensor([joint.lower for joint in SHADOW_HAND.joints])
UPPER = torch.tensor([joint.upper for joint in SHADOW_HAND.joints])
GOAL_POS = torch.tensor([0.0, -0.39, 0.56])
IN_THE_AIR = [0.0, -0.39, 0.75]
WEIGHT = 0.070875 * 9.81

# joint angles in the table's order; the engines get J0 = ratio * J1 where the vector has another J0
# fmt: off
POSES = {
    "zero": [0.0] * 24,
    "B": [-0.1, 0.2, 0.1, 0.6, 0.5, 0.4, 0.05, 0.7, 0.3, 0.3, -0.05, 0.5, 0.6, 0.5, 0.3, -0.1, 0.4, 0.7, 0.6,
     0.5, 0.6, 0.1, -0.2, -0.5],
    "C": [0.1, -0.4, -0.2, 1.0, 0.2, 0.2, -0.1, 0.3, 0.9, 0.8, 0.1, 1.1, 0.4, 0.3, 0.6, 0.2, 0.8, 0.3, 0.3,
     -0.4, 1.0, -0.1, 0.3, -0.9],
}
# fmt: on
# origins of the palm and of thdistal, which the coupling does not touch, in the MJCF's own kinematics [m]
MJCF_ORIGINS = {
    "zero": [(0, -0.29, 0.49), (-0.08348, -0.36852, 0.499)],
    "B": [(0.00339, -0.28983, 0.49), (-0.04379, -0.37100, 0.54879)],
    "C": [(-0.00339, -0.28983, 0.49), (-0.09195, -0.33597, 0.52855)],
}


@pytest.fixture(scope="module")
def env(request):
    physics = getattr(request, "param", "ovphysx")
    num_envs = NUM_ENVS if physics == "ovphysx" else 2  # the other engine is slow on a CPU
    env = gym.make(TASK_ID, num_envs=num_envs, seed=0, device="cpu", physics=physics).unwrapped
    env.reset()
    yield env
    env.close()


def by_name(env, tensor):
    """Columns of a joint tensor in the task's order, found by name."""
    return torch.stack([tensor[:, env.hand.joint_names.index(name)] for name in JOINTS], dim=-1)


def joint(env, name):
    return env.hand.data.joint_pos.torch[:, env.hand.joint_names.index(name)]


def actions_for(env, targets):
    """Actions that ask for joint angles by name, and 0 of the others."""
    angles = torch.tensor([targets.get(name, 0.0) for name in MOTORS])
    lower, upper = (limit[[JOINTS.index(name) for name in MOTORS]] for limit in (LOWER, UPPER))
    return ((2.0 * angles - upper - lower) / (upper - lower)).repeat(env.num_envs, 1)


def write_joints(env, targets):
    """Put the joints somewhere, at rest, with their targets there too; returns the holding actions."""
    angles = torch.tensor([targets.get(name, 0.0) for name in JOINTS])
    for finger in ("FF", "MF", "RF", "LF"):
        angles[JOINTS.index(f"{finger}J0")] = COUPLING_RATIO * angles[JOINTS.index(f"{finger}J1")]
    angles = angles.repeat(env.num_envs, 1)
    env.hand.write_joint_position_to_sim_index(position=angles, joint_ids=env._joint_ids)
    env.hand.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(angles), joint_ids=env._joint_ids)
    return actions_for(env, targets)


def check_kinematics(env, pose):
    angles = dict(zip(JOINTS, POSES[pose]))
    write_joints(env, angles)
    for finger in ("FF", "MF", "RF", "LF"):
        angles[f"{finger}J0"] = COUPLING_RATIO * angles[f"{finger}J1"]
    root = env.cfg.scene.robot.init_state
    poses = kinematics.forward_kinematics(SHADOW_HAND, angles, (np.array(root.pos), np.array(root.rot)))
    expected = {name: poses[name][0] for name in env.hand.body_names}
    expected |= dict(zip(("palm", "thdistal"), MJCF_ORIGINS[pose]))
    data, origins = env.hand.data, env.scene.env_origins
    for index, name in enumerate(env.hand.body_names):
        pos = (data.body_link_pos_w.torch[:, index] - origins).double()
        torch.testing.assert_close(pos, torch.tensor(expected[name]).double().expand_as(pos), atol=1e-5, rtol=0)
        # an engine's quaternion along a chain of six joints is of unit length only to a few float32 roundings
        quat = torch.nn.functional.normalize(data.body_link_quat_w.torch[:, index].double(), dim=-1)
        dot = (quat * torch.tensor(poses[name][1])).sum(-1).abs()
        torch.testing.assert_close(dot, torch.ones_like(dot), atol=1e-6, rtol=0)


def check_coupling(env, steps, tolerance):
    env.reset()
    write_joints(env, {})
    actions = actions_for(env, {"FFJ1": 0.9, "LFJ1": 0.5})
    place_object(env, range(env.num_envs), pos=IN_THE_AIR)
    for _ in range(steps):
        env.step(actions)
        place_object(env, range(env.num_envs), pos=IN_THE_AIR)
        for finger in ("FF", "MF", "RF", "LF"):
            error = joint(env, f"{finger}J0") - COUPLING_RATIO * joint(env, f"{finger}J1")
            assert error.abs().max() < tolerance, finger
    return {name: joint(env, name) for name in JOINTS}


def test_spaces_and_rates(env):
    assert env.single_observation_space["policy"].shape == (211,)
    assert env.single_action_space.shape == (20,)
    assert env.max_episode_length == 600
    assert env.step_dt == pytest.approx(1.0 / 60.0)
    assert env.physics_dt == pytest.approx(1.0 / 120.0)
    assert [env.hand.joint_names[i] for i in env._joint_ids] == JOINTS
    assert [env.hand.joint_names[i] for i in env._actuated_ids] == MOTORS


def test_drives_limits_and_masses_reach_the_engine(env):
    data = env.hand.data
    limits = data.joint_limits.torch
    torch.testing.assert_close(by_name(env, limits[..., 0])[0], LOWER, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_name(env, limits[..., 1])[0], UPPER, atol=1e-5, rtol=0)
    for tensor, field in (
        (data.joint_stiffness, "stiffness"),
        (data.joint_damping, "damping"),
        (data.joint_effort_limits, "effort"),
        (data.joint_armature, "armature"),
        (data.joint_friction_coeff, "friction"),
    ):
        expected = torch.tensor([getattr(row.drive, field) for row in SHADOW_HAND.joints])
        torch.testing.assert_close(by_name(env, tensor.torch)[0], expected, rtol=1e-5, atol=0)
    masses = dict(zip(env.hand.body_names, data.body_mass.torch[0].tolist()))
    assert masses == pytest.approx({body.name: body.mass for body in SHADOW_HAND.bodies}, rel=1e-5)
    assert env.object.data.body_mass.torch[0].item() == pytest.approx(0.070875, rel=1e-5)


@pytest.mark.parametrize("pose", POSES)
def test_body_poses_agree_with_the_mjcf(env, pose):
    check_kinematics(env, pose)


def test_a_tendon_moves_both_joints_of_its_finger_in_its_ratio(env):
    joints = check_coupling(env, steps=120, tolerance=5e-3)
    for name, target in (("FFJ1", 0.9), ("LFJ1", 0.5)):
        torch.testing.assert_close(joints[name], torch.full((NUM_ENVS,), target), atol=0.01, rtol=0)
    for name, target in (("FFJ0", 1.1418 * 0.9), ("LFJ0", 1.1418 * 0.5)):
        torch.testing.assert_close(joints[name], torch.full((NUM_ENVS,), target), atol=0.015, rtol=0)
    # nothing else moves
    others = [name for name in JOINTS if name not in ("FFJ1", "LFJ1", "FFJ0", "LFJ0")]
    assert max(joints[name].abs().max() for name in others) < 2e-3


def test_resets_respect_the_coupling_and_the_stated_distribution(env):
    angles, offsets = [], []
    for _ in range(60):
        env.reset()
        angles.append(by_name(env, env.hand.data.joint_pos.torch))
        offsets.append(env.object_pos - torch.tensor([0.0, -0.39, 0.60]))
        assert env.hand.data.joint_vel.torch.abs().max() == 0.0
    angles, offsets = torch.cat(angles), torch.cat(offsets)  # 480 samples
    free = [index for index, name in enumerate(JOINTS) if name in MOTORS]
    low, high = (0.2 * LOWER)[free], (0.2 * UPPER)[free]
    assert (angles[:, free] >= low - 1e-6).all() and (angles[:, free] <= high + 1e-6).all()
    # uniform: 4 standard errors of 480 samples are about 0.06 ranges
    assert ((angles[:, free].mean(0) - (low + high) / 2).abs() < 0.06 * (high - low)).all()
    torch.testing.assert_close(angles[:, free].std(0), (high - low) / math.sqrt(12), rtol=0.15, atol=0)
    for finger in ("FF", "MF", "RF", "LF"):
        leader, follower = angles[:, JOINTS.index(f"{finger}J1")], angles[:, JOINTS.index(f"{finger}J0")]
        torch.testing.assert_close(follower, COUPLING_RATIO * leader, atol=1e-6, rtol=0)
    assert offsets.abs().max() <= 0.01 + 1e-5
    torch.testing.assert_close(env.targets, angles[-NUM_ENVS:, free])


def test_observation_item_by_item(env):
    env.reset()
    for _ in range(5):
        actions = 2.0 * torch.rand(NUM_ENVS, 20) - 1.0
        obs, *_ = env.step(actions)
    obs = obs["policy"]
    data, hand, origins = env.object.data, env.hand.data, env.scene.env_origins
    joint_pos, joint_vel = by_name(env, hand.joint_pos.torch), by_name(env, hand.joint_vel.torch)
    sensor = env.scene["joint_wrench"]
    moved_by = {row.name: sensor.body_names.index(row.child) for row in SHADOW_HAND.joints}
    torque = torch.stack([sensor.data.torque.torch[:, moved_by[name], 2] for name in JOINTS], dim=-1)
    expected = [
        (0, 24, (2 * joint_pos - UPPER - LOWER) / (UPPER - LOWER)),
        (24, 48, 0.2 * joint_vel),
        (48, 72, 10.0 * torque),
        (72, 75, data.root_pos_w.torch - origins),
        (75, 79, data.root_quat_w.torch),
        (79, 82, data.root_lin_vel_w.torch),
        (82, 85, 0.2 * data.root_ang_vel_w.torch),
        (85, 88, GOAL_POS.expand(NUM_ENVS, 3)),
        (88, 92, env.goal_quat),
        (191, 211, actions),
    ]
    for finger, name in enumerate(FINGERTIPS):
        body, row, start = env.hand.body_names.index(name), sensor.body_names.index(name), 96 + 13 * finger
        expected += [
            (start, start + 3, hand.body_link_pos_w.torch[:, body] - origins),
            (start + 3, start + 7, hand.body_link_quat_w.torch[:, body]),
            (start + 7, start + 10, hand.body_com_lin_vel_w.torch[:, body]),
            (start + 10, start + 13, hand.body_com_ang_vel_w.torch[:, body]),
            (161 + 6 * finger, 164 + 6 * finger, 10.0 * sensor.data.force.torch[:, row]),
            (164 + 6 * finger, 167 + 6 * finger, 10.0 * sensor.data.torque.torch[:, row]),
        ]
    for start, stop, value in expected:
        torch.testing.assert_close(obs[:, start:stop], value.clamp(-5, 5), atol=1e-5, rtol=0)
    relative = Rotation.from_quat(data.root_quat_w.torch) * Rotation.from_quat(env.goal_quat).inv()
    dot = (obs[:, 92:96].double() * torch.tensor(relative.as_quat())).sum(-1).abs()
    torch.testing.assert_close(dot, torch.ones_like(dot), atol=1e-5, rtol=0)
    assert obs[:, 48:72].abs().max() > 0.0 and obs[:, 161:191].abs().max() > 0.0


@pytest.mark.parametrize(
    ("obs_type", "size"), [("full_state", 211), ("full", 157), ("full_no_vel", 77), ("openai", 42)]
)
def test_other_layouts_are_selections_of_the_full_one(env, monkeypatch, obs_type, size):
    obs = env.step(torch.zeros(NUM_ENVS, 20))[0]["policy"]
    tips = [96 + 13 * finger + axis for finger in range(5) for axis in range(3)]
    columns = {
        "full_state": [*range(211)],
        "full": [*range(48), *range(72, 161), *range(191, 211)],
        "full_no_vel": [*range(24), *range(72, 79), *range(85, 96), *tips, *range(191, 211)],
        "openai": [*tips, *range(72, 75), *range(92, 96), *range(191, 211)],
    }[obs_type]
    monkeypatch.setattr(env.cfg, "obs_type", obs_type)
    assert sum(env.observation_layout(env.cfg).values()) == size
    torch.testing.assert_close(env._get_observations()["policy"], obs[:, columns])


def test_unknown_layout_is_answered_in_one_line(env, monkeypatch):
    monkeypatch.setattr(env.cfg, "obs_type", "everything")
    with pytest.raises(ValueError) as error:
        env.observation_layout(env.cfg)
    assert str(error.value) == (
        "obs_type='everything' is unknown; use 'full_state', 'full', 'full_no_vel', 'measured' or 'openai'"
    )


def test_forces_without_a_sensor_are_refused_in_one_line():
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    cfg.scene.joint_wrench = None
    with pytest.raises(ValueError) as error:
        gym.make(TASK_ID, cfg=cfg)
    assert str(error.value) == "obs_type='full_state' needs the sensor scene.joint_wrench; use obs_type='full'"


def test_fingertip_sensors_feel_a_cube_and_joints_carry_it(env):
    env.reset()
    actions = write_joints(env, {})
    place_object(env, range(NUM_ENVS), pos=IN_THE_AIR)
    for _ in range(3):
        obs = env.step(actions)[0]["policy"]
    free = obs[:, 161:191].view(NUM_ENVS, 5, 6).abs().amax(-1) / 10.0
    assert free.max() < 0.02
    # on the stretched middle and ring finger, its centre above the last links
    actions = write_joints(env, {})
    place_object(env, range(NUM_ENVS), pos=[0.0, -0.465, 0.4981 + 0.0252], quat=[0.0, 0.0, 0.0, 1.0])
    for _ in range(90):
        obs, _, terminated, *_ = env.step(actions)
        assert not terminated.any()
    obs = obs["policy"]
    sensed = obs[:, 161:191].view(NUM_ENVS, 5, 6).abs().amax(-1) / 10.0
    # the two fingers share the cube as its corners happen to meet them, with the middle links in between
    assert (sensed[:, 1:3].sum(-1) > 0.15).all()
    assert sensed[:, [0, 3, 4]].max() < 0.02
    # all of the weight goes through the two knuckles, and its moment about their axes through the drives of J2
    sensor = env.scene["joint_wrench"]
    rows = [sensor.body_names.index(name) for name in ("mfproximal", "rfproximal")]
    load = sensor.data.force.torch[:, rows].norm(dim=-1).sum(-1)
    torch.testing.assert_close(load, torch.full((NUM_ENVS,), WEIGHT), rtol=0.05, atol=0)
    share = sensor.data.force.torch[:, rows].norm(dim=-1)
    arms = -env.object_pos[:, 1:2] - torch.tensor([[0.389, 0.385]])
    moment = obs[:, [48 + JOINTS.index("MFJ2"), 48 + JOINTS.index("RFJ2")]].abs() / 10.0
    torch.testing.assert_close(moment.sum(-1), (share * arms).sum(-1), rtol=0.1, atol=0)


def test_cube_rests_on_the_palm_without_shaking(env):
    env.reset()
    actions = write_joints(env, {})
    place_object(env, range(NUM_ENVS), pos=[0.008, -0.33, 0.5265], quat=[0.0, 0.0, 0.0, 1.0])
    for _ in range(60):
        env.step(actions)
    heights = []
    for _ in range(30):
        _, _, terminated, _, _ = env.step(actions)
        assert not terminated.any()
        heights.append(env.object_pos[:, 2])
        assert env.hand.data.joint_vel.torch.abs().max() < 0.02
        assert env.object.data.root_lin_vel_w.torch.norm(dim=-1).max() < 0.005
    assert torch.stack(heights).std(0).max() < 1e-4
    # the palm's boxes end 11.1 mm above its frame at 0.49 m; wrist and palm give way by a fraction of a millimetre
    torch.testing.assert_close(heights[-1], torch.full((NUM_ENVS,), 0.5261), atol=2e-3, rtol=0)


def test_neighbouring_fingers_stop_each_other(env):
    env.reset()
    actions = actions_for(env, {"FFJ3": -0.349, "MFJ3": 0.349})
    write_joints(env, {})
    for _ in range(60):
        place_object(env, range(NUM_ENVS), pos=IN_THE_AIR)
        env.step(actions)
    pos = env.fingertip_pos[:, :2]
    # capsules of 7.05 mm; without contact the tips would pass through each other
    assert (pos[:, 0] - pos[:, 1]).norm(dim=-1).min() > 2 * 0.00705 - 0.002
    assert (joint(env, "FFJ3") > -0.3).all()


def test_rewards_and_rotation_error_agree_with_scipy(env):
    env.reset()
    for _ in range(10):
        goal = Rotation.from_quat(env.goal_quat.numpy())
        actions = 2.0 * torch.rand(NUM_ENVS, 20) - 1.0
        _, reward, terminated, truncated, _ = env.step(actions)
        keep = ~(terminated | truncated)
        angle = (Rotation.from_quat(env.object_quat.numpy()) * goal.inv()).magnitude()
        np.testing.assert_allclose(env._rotation_error[keep], angle[keep], atol=1e-4)
        distance = (env.object_pos - GOAL_POS).norm(dim=-1).numpy()
        expected = -10.0 * distance + 1.0 / (angle + 0.1) - 0.0002 * (actions.numpy() ** 2).sum(-1)
        np.testing.assert_allclose(reward[keep], (expected + 250.0 * (angle <= 0.1))[keep], rtol=1e-4, atol=1e-4)


def test_a_hand_that_turns_the_cube_to_its_goal_earns_more_than_random(env):
    """The oracle is a hand of magic: it turns the cube a little nearer to its goal in each step."""
    totals = []
    for oracle in (False, True):
        env.reset()
        total = torch.zeros(NUM_ENVS)
        hold = hold_actions(env)
        for _ in range(60):
            if oracle:
                goal, now = (Rotation.from_quat(quat.numpy()) for quat in (env.goal_quat, env.object_quat))
                step = (goal * now.inv()).as_rotvec()
                angle = np.linalg.norm(step, axis=-1, keepdims=True)
                nearer = Rotation.from_rotvec(step * np.minimum(1.0, 0.2 / np.maximum(angle, 1e-6))) * now
                quats = torch.tensor(nearer.as_quat(), dtype=torch.float32)
                for env_id in range(NUM_ENVS):
                    place_object(env, [env_id], pos=[0.0, -0.39, 0.60], quat=quats[env_id])
            total += env.step(hold if oracle else 2.0 * torch.rand(NUM_ENVS, 20) - 1.0)[1]
        totals.append(total)
    assert totals[1].min() > 500.0
    assert totals[1].mean() > 10.0 * totals[0].mean().abs()


def test_random_actions_stay_finite_and_within_the_limits(env):
    env.reset()
    env.episode_length_buf[: NUM_ENVS // 2] = 300  # so that some episodes end
    finished = torch.zeros(NUM_ENVS)
    for _ in range(500):
        obs, reward, terminated, truncated, extras = env.step(2.0 * torch.rand(NUM_ENVS, 20) - 1.0)
        assert torch.isfinite(obs["policy"]).all() and torch.isfinite(reward).all()
        joint_pos = by_name(env, env.hand.data.joint_pos.torch)
        assert (joint_pos > LOWER - 1e-2).all() and (joint_pos < UPPER + 1e-2).all()
        finished += terminated | truncated
    assert (finished[: NUM_ENVS // 2] > 0).all()
    assert all(torch.isfinite(value) for value in extras["log"].values())


@pytest.mark.slow
@pytest.mark.parametrize("env", ["newton_mjwarp"], indirect=True)
def test_newton_has_the_same_kinematics_and_coupling(env):
    assert [env.hand.joint_names[i] for i in env._joint_ids] == JOINTS
    for pose in POSES:
        check_kinematics(env, pose)
    joints = check_coupling(env, steps=60, tolerance=0.03)
    for name, target in (("FFJ1", 0.9), ("FFJ0", 1.1418 * 0.9)):
        torch.testing.assert_close(joints[name], torch.full((2,), target), atol=0.1, rtol=0)
