"""SAPG-AllegroKuka-Regrasp on ovphysx: robot, objects, and all that the three tasks have in common."""

import math

import numpy as np
import pytest
import torch
from kuka_env import (
    JOINTS,
    LINK_7,
    PALM_CENTER,
    POSES,
    TIPS,
    by_name,
    carried_return,
    hold_actions,
    make,
    park_robot,
    put_object,
    put_robot,
    random_return,
)
from scipy.spatial.transform import Rotation

from same_state import assert_same_state
from sapg_isaaclab.assets.tables.cuboids import mass, object_scales
from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO

NUM_ENVS, BLOCKS = 24, 2
LOWER = torch.tensor([joint.lower for joint in KUKA_ALLEGRO.joints])
UPPER = torch.tensor([joint.upper for joint in KUKA_ALLEGRO.joints])
ABOVE_THE_TABLE = [0.0, 0.0, 0.60]


@pytest.fixture(scope="module")
def env():
    env = make("Regrasp", num_envs=NUM_ENVS, num_blocks=BLOCKS)
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    env.reset()


def random_actions():
    return 2.0 * torch.rand(NUM_ENVS, 23) - 1.0


def test_spaces_and_rates(env):
    assert env.single_observation_space["policy"].shape == (99,)
    assert env.single_action_space.shape == (23,)
    assert env.max_episode_length == 400
    assert env.step_dt == pytest.approx(1.0 / 60.0)


def test_drives_limits_and_masses_reach_the_engine(env):
    data = env.arms[0].robot.data
    assert [env.arms[0].robot.joint_names[i] for i in env.arms[0].joint_ids] == JOINTS
    limits = data.joint_limits.torch
    torch.testing.assert_close(by_name(env, limits[..., 0])[0], LOWER, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_name(env, limits[..., 1])[0], UPPER, atol=1e-5, rtol=0)
    arm, hand = torch.ones(7), torch.ones(16)
    friction = [0.025] * 7 + [0.0523963, 0.0150275, 0.0061636, 0.0227036] * 3 + [0.035] * 4
    for tensor, expected in (
        (data.joint_stiffness, torch.cat((40.0 * arm, 40.0 * hand))),
        (data.joint_damping, torch.cat((5.0 * arm, 5.0 * hand))),
        (data.joint_effort_limits, torch.cat((300.0 * arm, 0.35 * hand))),
        (data.joint_vel_limits, torch.cat((10.0 * arm, 6.283 * hand))),
        (data.joint_friction_coeff, torch.tensor(friction)),
    ):
        torch.testing.assert_close(by_name(env, tensor.torch)[0], expected, rtol=1e-5, atol=0)
    masses = dict(zip(env.arms[0].robot.body_names, data.body_mass.torch[0].tolist()))
    assert masses == pytest.approx({body.name: body.mass for body in KUKA_ALLEGRO.bodies}, rel=1e-5)


@pytest.mark.parametrize("pose", POSES)
def test_forward_kinematics(env, pose):
    put_robot(env, POSES[pose])
    env._measure()
    index = env.arms[0].robot.body_names.index("iiwa7_link_7")
    link_pos = env.arms[0].robot.data.body_link_pos_w.torch[:, index] - env.scene.env_origins
    position, quat = LINK_7[pose]
    # check values are rounded to 1e-5 m
    palm, tips = env.measured.palm_pos[:, 0], env.measured.tips
    for measured, expected in ((link_pos, position), (palm, PALM_CENTER[pose]), (tips, TIPS[pose])):
        expected = torch.tensor(expected).expand_as(measured)
        torch.testing.assert_close(measured, expected, atol=1.6e-5, rtol=0)
    dot = (env.measured.palm_quat[:, 0] * torch.tensor(quat)).sum(-1).abs()
    torch.testing.assert_close(dot, torch.ones(NUM_ENVS), atol=1e-5, rtol=0)


def test_every_block_has_the_same_objects(env):
    edges, masses = env.object_edges.view(BLOCKS, -1, 3), env.object_mass.view(BLOCKS, -1)
    assert torch.equal(edges[0], edges[1]) and torch.equal(masses[0], masses[1])
    assert len(torch.unique(edges[0], dim=0)) == 12
    # the engine has them too
    torch.testing.assert_close(env.object.data.body_mass.torch[:, 0], env.object_mass)
    scales = object_scales(env.cfg.object_sets)[:12]
    assert env.object_mass[:12].tolist() == pytest.approx([mass(scale) for scale in scales])
    inertia = env.object.data.body_inertia.torch.view(NUM_ENVS, 9)[:, 0]
    expected = env.object_mass * (env.object_edges[:, 1] ** 2 + env.object_edges[:, 2] ** 2) / 12
    torch.testing.assert_close(inertia, expected, rtol=1e-3, atol=1e-9)


def test_objects_rest_on_the_table_at_their_own_height(env):
    park_robot(env)
    env.pushes.probability.zero_()
    put_object(env, range(NUM_ENVS), ABOVE_THE_TABLE)
    for _ in range(60):
        env.step(hold_actions(env))
    # dropped flat, a cuboid lies on its z face unless it topples: stable where z is the shortest edge
    flat = env.object_edges.argmin(-1) == 2
    assert flat.any()
    height = env.object_pos[flat, 2] - env.object_edges[flat, 2] / 2
    torch.testing.assert_close(height, torch.full_like(height, 0.53), atol=2e-3, rtol=0)


def test_observation_item_by_item(env):
    for _ in range(4):
        before = (env.closest_keypoint.clone(), env.closest_tip.clone(), env.lifted.clone())
        obs, reward, terminated, truncated, _ = env.step(random_actions())
    obs, data, robot = obs["policy"], env.object.data, env.arms[0].robot.data
    keep = ~(terminated | truncated | env._reached)
    origins = env.scene.env_origins
    joint_pos, joint_vel = by_name(env, robot.joint_pos.torch), by_name(env, robot.joint_vel.torch)
    palm = env.arms[0].robot.body_names.index("iiwa7_link_7")
    palm_quat = robot.body_link_quat_w.torch[:, palm]
    turn = Rotation.from_quat(palm_quat.numpy())
    palm_pos = robot.body_link_pos_w.torch[:, palm] - origins
    palm_pos = palm_pos + torch.tensor(turn.apply([0.0, -0.02, 0.16])).float()
    tips = []
    for finger, reach in (("index", 0.05), ("middle", 0.05), ("ring", 0.05), ("thumb", 0.06)):
        link = env.arms[0].robot.body_names.index(f"{finger}_link_3")
        turn = Rotation.from_quat(robot.body_link_quat_w.torch[:, link].numpy())
        tips.append(
            robot.body_link_pos_w.torch[:, link] - origins + torch.tensor(turn.apply([reach, 0.005, 0])).float()
        )
    position = data.root_pos_w.torch - origins
    progress = torch.full((NUM_ENVS, 1), math.log(4 / 10 + 1))
    expected = [
        (0, 23, (2 * joint_pos - UPPER - LOWER) / (UPPER - LOWER)),
        (23, 46, joint_vel),
        (46, 49, palm_pos),
        (49, 53, palm_quat),
        (53, 56, robot.body_com_lin_vel_w.torch[:, palm]),
        (56, 59, robot.body_com_ang_vel_w.torch[:, palm]),
        (59, 63, data.root_quat_w.torch),
        (63, 66, data.root_lin_vel_w.torch),
        (66, 69, data.root_ang_vel_w.torch),
        (69, 81, torch.cat([tip - palm_pos for tip in tips], -1)),
        (81, 84, position - palm_pos),
        (84, 87, position - env.goal_pos),
        (87, 90, env.object_edges / 0.05),
        (90, 91, before[0].unsqueeze(-1)),
        (91, 95, before[1]),
        (95, 96, before[2].float().unsqueeze(-1)),
        (96, 97, progress),
        (97, 98, torch.zeros(NUM_ENVS, 1)),
        (98, 99, 0.01 * reward.unsqueeze(-1)),
    ]
    assert keep.sum() > NUM_ENVS / 2
    for start, stop, value in expected:
        torch.testing.assert_close(obs[keep, start:stop], value[keep].clamp(-10, 10), atol=2e-5, rtol=1e-5)


def test_first_observation_of_an_episode(env):
    obs, _ = env.reset()
    obs = obs["policy"]
    env._measure()
    torch.testing.assert_close(obs[:, 90], env.measured.keypoint_distance)
    torch.testing.assert_close(obs[:, 91:95], env.measured.tip_distance)
    assert (obs[:, 95:99] == 0.0).all()


def test_reward_equals_the_formula_on_the_states(env):
    closest_tip, closest_keypoint, lifted = (
        np.full((NUM_ENVS, 4), np.inf),
        np.full(NUM_ENVS, np.inf),
        np.zeros(NUM_ENVS),
    )
    valid = np.ones(NUM_ENVS, dtype=bool)
    park = torch.arange(NUM_ENVS) % 2 == 0
    for step in range(12):
        if step == 5:  # half of the objects leap
            put_object(env, park.nonzero().flatten(), [0.1, -0.1, 0.72], lin_vel=(0.0, 0.6, 1.5))
        goal, reset_tips = env.goal_pos.clone().numpy(), np.isinf(closest_tip)
        _, reward, terminated, truncated, _ = env.step(random_actions())
        valid &= ~(terminated | truncated | env._reached).numpy()
        tip = np.linalg.norm(env.measured.tips.numpy() - env.object_pos.numpy()[:, None], axis=-1)
        keypoint = np.linalg.norm(env.object_pos.numpy() - goal, axis=-1)
        height = 0.05 + env.object_pos[:, 2].numpy() - 0.63
        just = (height > 0.15) & (lifted == 0)
        lifted = np.maximum(lifted, just)
        tip_gain = np.where(reset_tips, 0.0, np.clip(closest_tip - tip, 0, 10)).sum(-1)
        gain = np.where(np.isinf(closest_keypoint), 0.0, np.clip(closest_keypoint - keypoint, 0, 100))
        closest_tip, closest_keypoint = np.minimum(closest_tip, tip), np.minimum(closest_keypoint, keypoint)
        speed = by_name(env, env.arms[0].robot.data.joint_vel.torch).abs().numpy()
        expected = (
            50 * tip_gain * (1 - lifted)
            + 20 * np.clip(height, 0, 0.5) * (1 - lifted)
            + 300 * just
            + 200 * gain * lifted
            + 1000 / 30 * (keypoint <= 1.5 * 0.075)
            - 0.003 * speed[:, :7].sum(-1)
            - 0.0003 * speed[:, 7:].sum(-1)
        )
        np.testing.assert_allclose(reward.numpy()[valid], expected[valid], rtol=1e-4, atol=2e-4)
    assert valid.sum() > NUM_ENVS / 2 and lifted[valid].any() and not lifted[valid].all()


def test_lift_latches_and_pays_once(env):
    park_robot(env)
    env.pushes.probability.zero_()
    env.goal_pos[:] = torch.tensor([0.0, 0.0, 5.0])
    # thrown up from just below 0.73 m: above it after one step, below it again after about 0.2 s
    put_object(env, range(NUM_ENVS), [0.0, 0.0, 0.70], lin_vel=(0.0, 0.0, 1.2))
    bonuses, heights = torch.zeros(NUM_ENVS), []
    first = None
    for step in range(30):
        env.step(hold_actions(env))
        heights.append(env.object_pos[:, 2].clone())
        paid = env._just_lifted.float()
        bonuses += paid
        if paid.any():
            assert first is None
            first = step
            assert env.extras["log"]["Reward/lift_bonus"].item() == pytest.approx(300.0)
    heights = torch.stack(heights)
    assert (bonuses == 1.0).all()
    assert (heights[first] > 0.73).all() and (heights[:first] <= 0.73).all()
    assert (heights[-1] < 0.73).all() and env.lifted.all()


def test_exactly_thirty_near_steps_are_a_success(env):
    park_robot(env)
    env.pushes.probability.zero_()
    goal = torch.tensor([0.1, 0.1, 0.9])
    env.goal_pos[:2] = goal
    for step in range(30):
        # environment 1 is away from its goal for five steps: they are missing at the end
        away = 10 <= step < 15
        put_object(env, [0], goal)
        put_object(env, [1], goal + 0.2 * away)
        env.episode_length_buf[:2] = 100
        _, reward, terminated, truncated, _ = env.step(hold_actions(env))
        assert not (terminated | truncated)[:2].any()
        assert env.successes[:2].tolist() == [float(step == 29), 0.0]
        assert reward[0] > 1000 / 30 - 1.0
        assert (reward[1] > 1000 / 30 - 1.0) == (not away)
    # the next goal, the object back on the table, the robot as it was
    assert not torch.allclose(env.goal_pos[0], goal) and torch.equal(env.goal_pos[1], goal)
    assert not env.lifted[0] and env.lifted[1]
    assert (env.object_pos[0] - torch.tensor([0.0, 0.0, 0.63])).abs().max() <= 0.1 + 1e-5
    assert env.object.data.root_vel_w.torch[0].abs().max() == 0.0
    assert env.episode_length_buf[:2].tolist() == [0, 101]
    assert env.near_steps[:2].tolist() == [0, 25]
    assert (env.joint_pos[0] - env.targets[0]).abs().max() < 0.02
    for step in range(5):
        put_object(env, [1], goal)
        env.step(hold_actions(env))
        assert env.successes[1].item() == float(step == 4)


def test_consecutive_hold_starts_anew(env, monkeypatch):
    monkeypatch.setattr(env.cfg, "hold", "consecutive")
    park_robot(env)
    goal = torch.tensor([0.1, 0.1, 0.9])
    env.goal_pos[0] = goal
    seen = []
    for away in (0.0, 0.0, 0.2, 0.0):
        put_object(env, [0], goal + away)
        env.step(hold_actions(env))
        seen.append(env.near_steps[0].item())
    assert seen == [1, 2, 0, 1]


def test_success_radius_is_one_and_a_half_tolerances(env, monkeypatch):
    park_robot(env)
    env.goal_pos[:] = torch.tensor([0.0, 0.0, 0.9])
    for scale, near in ((1.5, [True, True, False]), (1.0, [True, False, False])):
        monkeypatch.setattr(env.cfg, "success_radius_scale", scale)
        for env_id, distance in enumerate((0.07, 0.105, 0.12)):
            put_object(env, [env_id], [distance, 0.0, 0.9])
        env._get_dones()
        assert env._near[:3].tolist() == near


def test_curriculum_tightens_at_the_stated_step(env):
    saved = env.state_dict()
    env._finished_successes.fill_(3.0)
    env.common_step_counter = 2998
    env.step(hold_actions(env))
    assert env.extras["log"]["Metrics/success_tolerance"].item() == pytest.approx(0.075)
    env.step(hold_actions(env))
    assert env.extras["log"]["Metrics/success_tolerance"].item() == pytest.approx(0.0675)
    tightened = env.state_dict()
    assert env.load_state_dict(saved) is None
    assert env.curriculum.values["tolerance"].item() == pytest.approx(0.075)
    env.load_state_dict(tightened)
    assert_same_state(env.state_dict(), tightened)
    env.load_state_dict(saved)
    env._finished_successes.zero_()


def test_leader_gate_looks_at_block_0_only(env, monkeypatch):
    saved = env.state_dict()
    for gate, leader, others, tolerance in (
        ("all", 4.0, 0.0, 0.075),
        ("leader", 0.0, 9.0, 0.075),
        ("leader", 4.0, 0.0, 0.0675),
    ):
        monkeypatch.setattr(env.cfg.curriculum, "gate", gate)
        env._finished_successes[: NUM_ENVS // 2], env._finished_successes[NUM_ENVS // 2 :] = leader, others
        env.common_step_counter = 5000
        env.step(hold_actions(env))
        assert env.curriculum.values["tolerance"].item() == pytest.approx(tolerance)
    env.load_state_dict(saved)
    env._finished_successes.zero_()


def test_dropped_object_ends_the_episode(env):
    env.successes[:] = torch.arange(NUM_ENVS, dtype=torch.float32)
    before = env.extras["successes"].clone()
    put_object(env, [5], [0.6, -0.6, 0.09])
    put_object(env, [6], [0.6, -0.6, 0.30])
    obs, _, terminated, truncated, extras = env.step(hold_actions(env))
    assert terminated.nonzero().flatten().tolist() == [5]
    assert not truncated.any()
    assert extras["successes"][5] == 5.0
    others = torch.arange(NUM_ENVS) != 5
    assert torch.equal(extras["successes"][others], before[others])
    assert env.successes[5:7].tolist() == [0.0, 6.0]
    assert env.episode_length_buf[5:7].tolist() == [0, 1]
    assert extras["log"]["Leader/successes"].item() == pytest.approx(extras["successes"][:12].mean().item())
    assert extras["log"]["Block_1/successes"].item() == pytest.approx(extras["successes"][12:].mean().item())
    # the terminal observation is that of the dropped object, the returned one that of the next episode
    final = extras["final_obs"]["policy"]
    palm, relative = final[5, 46:49], final[5, 81:84]
    torch.testing.assert_close((palm + relative)[:2], torch.tensor([0.6, -0.6]), atol=1e-4, rtol=0)
    assert final[5, 97].item() == pytest.approx(math.log(6.0))
    palm, relative = obs["policy"][5, 46:49], obs["policy"][5, 81:84]
    assert (palm + relative)[2] > 0.6 and (obs["policy"][5, 95:99] == 0.0).all()
    torch.testing.assert_close(final[others], obs["policy"][others])


def test_time_out_and_the_time_a_success_buys(env):
    park_robot(env)
    env.episode_length_buf[:2] = 397
    env.step(hold_actions(env))
    assert env.episode_length_buf[:2].tolist() == [398, 398]
    env.near_steps[0] = 29
    put_object(env, [0], env.goal_pos[:1])
    _, _, terminated, truncated, _ = env.step(hold_actions(env))
    assert truncated.nonzero().flatten().tolist() == [1]
    assert not terminated.any()
    assert env.successes[0] == 1.0 and env.episode_length_buf[:2].tolist() == [0, 0]


def test_fifty_successes_end_the_episode(env):
    park_robot(env)
    env.successes[0], env.near_steps[0] = 49.0, 29
    put_object(env, [0], env.goal_pos[:1])
    _, _, terminated, _, extras = env.step(hold_actions(env))
    assert terminated.nonzero().flatten().tolist() == [0]
    assert extras["successes"][0] == 50.0 and env.successes[0] == 0.0


def test_arm_moves_its_targets_and_hand_goes_to_them(env):
    start = env.targets.clone()
    actions = torch.full((NUM_ENVS, 23), 7.0)  # clamped to 1
    env.step(actions)
    torch.testing.assert_close(env.targets[:, :7], (start[:, :7] + 1 / 6).clamp(max=UPPER[:7]))
    torch.testing.assert_close(env.targets[:, 7:], UPPER[7:].expand(NUM_ENVS, 16))
    held = by_name(env, env.arms[0].robot.data.joint_pos_target.torch)
    torch.testing.assert_close(held, env.targets)
    env.step(torch.zeros(NUM_ENVS, 23))
    torch.testing.assert_close(env.targets[:, :7], (start[:, :7] + 1 / 6).clamp(max=UPPER[:7]))
    torch.testing.assert_close(env.targets[:, 7:], ((LOWER + UPPER) / 2)[7:].expand(NUM_ENVS, 16))


def test_damping_is_inside_the_clamped_torque(env):
    # outside, a finger could not turn faster than 0.35 / 5 = 0.07 rad/s
    park_robot(env)
    fastest = torch.zeros(16)
    actions = hold_actions(env)
    actions[:, 8:11] = 1.0
    for _ in range(15):
        env.step(actions)
        fastest = torch.maximum(fastest, env.joint_vel[:, 7:].abs().amax(0))
    assert (fastest[1:4] > 1.0).all()
    assert fastest.max() < 6.283 * 1.05


def test_robot_has_no_weight_and_holds_its_pose(env):
    put_object(env, range(NUM_ENVS), [0.6, -0.6, 2.0])
    put_robot(env, torch.tensor(POSES["B"]))
    for _ in range(20):
        env.step(hold_actions(env))
    assert (env.joint_pos - env.targets).abs().max() < 2e-3


def test_pushes_have_the_stated_strength_and_move_the_object(env):
    park_robot(env)
    env.pushes.probability.fill_(1.0)
    forces = []
    put_object(env, range(NUM_ENVS), [0.0, 0.0, 1.0])
    env.step(hold_actions(env))
    force = env.pushes.force.clone()
    # environment 0's mass for all: 2 N/kg * 0.15 kg = 0.3 N
    velocity = env.object.data.root_lin_vel_w.torch
    expected = env.step_dt * force / env.object_mass.unsqueeze(-1)
    expected[:, 2] -= 9.81 * env.step_dt
    # the push acts in the object's frame, which has barely turned
    torch.testing.assert_close(velocity, expected, atol=5e-3, rtol=0.02)
    for _ in range(60):
        env.pushes.step()
        forces.append(env.pushes.force.clone())
    assert torch.cat(forces).std().item() == pytest.approx(0.3, rel=0.05)
    # without a new push it fades by 0.99^(dt / 0.08) a step
    env.pushes.probability.zero_()
    before = env.pushes.force.clone()
    env.pushes.step()
    torch.testing.assert_close(env.pushes.force, before * 0.99 ** ((1 / 60) / 0.08))
    env.reset()
    assert (env.pushes.force == 0.0).all()


def test_reset_distributions(env):
    default = torch.tensor(POSES["A"])
    joint_pos, joint_vel, positions, quats, goals, probabilities = [], [], [], [], [], []
    for _ in range(50):
        env.reset()
        joint_pos.append(by_name(env, env.arms[0].robot.data.joint_pos.torch))
        joint_vel.append(by_name(env, env.arms[0].robot.data.joint_vel.torch))
        positions.append(env.object_pos - torch.tensor([0.0, 0.0, 0.63]))
        quats.append(env.object_quat.clone())
        goals.append(env.goal_pos.clone())
        probabilities.append(env.pushes.probability.clone())
        torch.testing.assert_close(env.targets, joint_pos[-1])
    joint_pos, joint_vel, positions = torch.cat(joint_pos), torch.cat(joint_vel), torch.cat(positions)  # 1200 samples
    low, high = 0.9 * default + 0.1 * LOWER, 0.9 * default + 0.1 * UPPER
    assert low[0].item() == pytest.approx(-1.711, abs=1e-3) and high[0].item() == pytest.approx(-1.117, abs=1e-3)
    thumb = JOINTS.index("thumb_joint_0")
    assert high[thumb] < LOWER[thumb]
    assert (joint_pos[:, thumb] - LOWER[thumb]).abs().max() < 1e-6
    free = torch.arange(23) != thumb
    span = (high - low)[free]
    assert (joint_pos[:, free] >= low[free] - 1e-5).all() and (joint_pos[:, free] <= high[free] + 1e-5).all()
    # four standard errors of the mean of 1200 samples are 0.033 ranges
    assert ((joint_pos.mean(0) - (low + high) / 2)[free].abs() < 0.034 * span).all()
    torch.testing.assert_close(joint_pos.std(0)[free], span / math.sqrt(12), rtol=0.08, atol=0)
    assert joint_vel.abs().max() <= 0.5 + 1e-5
    torch.testing.assert_close(joint_vel.std(0), torch.full((23,), 0.5 / math.sqrt(3)), rtol=0.08, atol=0)
    noise = torch.tensor([0.1, 0.1, 0.02])
    assert (positions.abs() <= noise + 1e-5).all()
    torch.testing.assert_close(positions.std(0), noise / math.sqrt(3), rtol=0.08, atol=0)
    # orientations uniform over SO(3): z of the turned z axis is uniform in [-1, 1]
    x, y, _, _ = torch.cat(quats).unbind(-1)
    z_axis = 1 - 2 * (x * x + y * y)
    assert z_axis.mean().abs() < 0.07 and z_axis.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.08)
    goals = torch.cat(goals)
    assert (goals >= torch.tensor([-0.4, 0.0, 0.68]) - 1e-6).all() and (goals <= torch.tensor([0.4, 0.35, 1.05])).all()
    # log-uniform in [0.001, 0.1]
    logs = torch.cat(probabilities).log10()
    assert logs.min() >= -3.0 - 1e-5 and logs.max() <= -1.0 + 1e-5
    assert logs.mean().item() == pytest.approx(-2.0, abs=0.07)


def test_random_actions_stay_finite_and_within_limits(env):
    for step in range(150):
        actions = random_actions() if step % 50 < 40 else torch.sign(random_actions())
        obs, reward, *_ = env.step(actions)
        assert torch.isfinite(obs["policy"]).all() and torch.isfinite(reward).all()
        assert torch.maximum(LOWER - env.joint_pos, env.joint_pos - UPPER).max() < 1e-2
    assert obs["policy"].abs().max() <= 10.0
    assert (env.object_pos[:, 2] > -0.01).all()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_joints_that_the_engine_left_beyond_their_limits_are_put_back(env, monkeypatch, on_cpu):
    env.reset()
    park_robot(env)
    index = JOINTS.index("index_joint_1")
    beyond = env.joint_pos.clone()
    beyond[:3, index] = UPPER[index] + torch.tensor([0.004, 0.1, 0.5])
    speed = torch.zeros_like(beyond)
    speed[:3, index] = 3.0

    def put_beyond():
        env.arms.put(beyond, speed, torch.arange(NUM_ENVS, dtype=torch.int32))

    monkeypatch.setattr(env.stops, "tolerance", math.inf)
    put_beyond()
    env.stops.hold(env.joint_pos, env.joint_vel)
    torch.testing.assert_close(env.joint_pos, beyond)
    monkeypatch.undo()
    # a CPU asks whether any joint is beyond
    monkeypatch.setattr(env.stops, "host_knows", on_cpu)
    env.stops.hold(env.joint_pos, env.joint_vel)
    expected = beyond.clone()
    expected[1:3, index] = UPPER[index]
    torch.testing.assert_close(env.joint_pos, expected)
    torch.testing.assert_close(env.joint_vel[:4, index], torch.tensor([3.0, 0.0, 0.0, 0.0]))
    # the fingertip follows at once: measurements of this very step see it
    env._measure()
    tips = env.measured.tips[:, 0] - env.measured.palm_pos[:, 0]
    torch.testing.assert_close(tips[1], tips[2], atol=1e-5, rtol=0)


def test_carrying_the_object_to_its_goal_pays_more_than_random_actions(env):
    random = random_return(env)
    env.reset()
    park_robot(env)
    carried = carried_return(env)
    assert (carried > 300.0).all() and carried.mean() > 10 * random.mean().clamp(min=1.0)
    assert env.extras["log"].keys() >= {"Metrics/successes", "Metrics/true_objective", "Episode/keypoint"}
    assert all(value.dim() == 0 for value in env.extras["log"].values())


def test_inference_mode_leaves_the_environment_usable(env):
    with torch.inference_mode():
        env.reset()
        env.step(random_actions())
    env.reset()
    env.step(random_actions())
