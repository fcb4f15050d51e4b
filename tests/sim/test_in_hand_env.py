"""SAPG-Allegro-Reorient on ovphysx: what the task's specification says, on real physics."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sim_env import Indexing, hold_actions, make, place_object

from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND

NUM_ENVS = 32
JOINTS = [f"{finger}_joint_{i}" for finger in ("index", "middle", "ring", "thumb") for i in range(4)]
LOWER = torch.tensor([joint.lower for joint in ALLEGRO_HAND.joints])
UPPER = torch.tensor([joint.upper for joint in ALLEGRO_HAND.joints])
IN_THE_AIR = [0.0, -0.2, 0.70]  # touches nothing for a step, and is near enough to the goal
GOAL_POS = torch.tensor([0.0, -0.2, 0.52])


@pytest.fixture(scope="module")
def env():
    env = make(num_envs=NUM_ENVS, seed=0)
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    env.reset()


def random_actions():
    return 2.0 * torch.rand(NUM_ENVS, 16) - 1.0


def by_name(env, tensor):
    """Columns of a joint tensor in the task's order, found by name."""
    return torch.stack([tensor[:, env.hand.joint_names.index(name)] for name in JOINTS], dim=-1)


def test_spaces_and_rates(env):
    assert env.single_observation_space["policy"].shape == (88,)
    assert env.single_action_space.shape == (16,)
    assert env.max_episode_length == 600
    assert env.step_dt == pytest.approx(1.0 / 30.0)
    assert env.physics_dt == pytest.approx(1.0 / 120.0)


def test_joint_order_is_depth_first_by_name(env):
    assert [env.hand.joint_names[i] for i in env._joint_ids] == JOINTS
    assert [env.hand.joint_names[i] for i in env._actuated_ids] == JOINTS


def test_drives_limits_and_masses_reach_the_engine(env):
    data = env.hand.data
    limits = data.joint_limits.torch
    torch.testing.assert_close(by_name(env, limits[..., 0])[0], LOWER, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_name(env, limits[..., 1])[0], UPPER, atol=1e-5, rtol=0)
    for tensor, value in (
        (data.joint_stiffness, 3.0),
        (data.joint_damping, 0.1),
        (data.joint_effort_limits, 0.5),
        (data.joint_vel_limits, 6.283),
        (data.joint_armature, 0.001),
        (data.joint_friction_coeff, 0.01),
    ):
        torch.testing.assert_close(tensor.torch, torch.full((NUM_ENVS, 16), value), rtol=1e-5, atol=0)
    masses = dict(zip(env.hand.body_names, data.body_mass.torch[0].tolist()))
    assert masses == pytest.approx({body.name: body.mass for body in ALLEGRO_HAND.bodies}, rel=1e-5)
    assert env.object.data.body_mass.torch[0].item() == pytest.approx(0.10985, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_body_poses_agree_with_the_kinematics(env, share):
    joint_pos = LOWER + share * (UPPER - LOWER)
    env.hand.write_joint_position_to_sim_index(position=joint_pos.repeat(NUM_ENVS, 1), joint_ids=env._joint_ids)
    root = env.cfg.scene.robot.init_state
    poses = kinematics.forward_kinematics(
        ALLEGRO_HAND, dict(zip(JOINTS, joint_pos.double().tolist())), (np.array(root.pos), np.array(root.rot))
    )
    for index, name in enumerate(env.hand.body_names):
        pos = env.hand.data.body_link_pos_w.torch[:, index] - env.scene.env_origins
        expected, quat = poses[name]
        # the engine keeps world positions in float32: 1e-5 m is what is left 10 m from the origin
        torch.testing.assert_close(pos.double(), torch.tensor(expected).expand(NUM_ENVS, 3), atol=1e-5, rtol=0)
        dot = (env.hand.data.body_link_quat_w.torch[:, index].double() * torch.tensor(quat)).sum(-1).abs()
        torch.testing.assert_close(dot, torch.ones_like(dot), atol=1e-6, rtol=0)


def test_observation_item_by_item(env):
    for _ in range(5):
        actions = random_actions()
        obs, *_ = env.step(actions)
    obs = obs["policy"]
    data, origins = env.object.data, env.scene.env_origins
    joint_pos = by_name(env, env.hand.data.joint_pos.torch)
    joint_vel = by_name(env, env.hand.data.joint_vel.torch)
    relative = Rotation.from_quat(data.root_quat_w.torch) * Rotation.from_quat(env.goal_quat).inv()
    expected = [
        (0, 16, (2 * joint_pos - UPPER - LOWER) / (UPPER - LOWER)),
        (16, 32, 0.2 * joint_vel),
        (32, 48, torch.zeros(NUM_ENVS, 16)),
        (48, 51, data.root_pos_w.torch - origins),
        (51, 55, data.root_quat_w.torch),
        (55, 58, data.root_lin_vel_w.torch),
        (58, 61, 0.2 * data.root_ang_vel_w.torch),
        (61, 64, GOAL_POS.expand(NUM_ENVS, 3)),
        (64, 68, env.goal_quat),
        (72, 88, actions),
    ]
    for start, stop, value in expected:
        torch.testing.assert_close(obs[:, start:stop], value.clamp(-5, 5), atol=1e-5, rtol=0)
    dot = (obs[:, 68:72].double() * torch.tensor(relative.as_quat())).sum(-1).abs()
    torch.testing.assert_close(dot, torch.ones_like(dot), atol=1e-5, rtol=0)


def test_observations_are_clipped_at_five(env):
    place_object(env, [0], lin_vel=(20.0, 0.0, 0.0), ang_vel=(0.0, -60.0, 0.0))
    obs = env._get_observations()["policy"]
    assert obs[0, 55].item() == 5.0
    assert obs[0, 59].item() == -5.0
    assert obs.abs().max() <= 5.0


def test_reward_equals_the_formula_on_the_state(env):
    for _ in range(20):
        goal = Rotation.from_quat(env.goal_quat.numpy())
        actions = 3.0 * random_actions()
        _, reward, terminated, truncated, _ = env.step(actions)
        keep = ~(terminated | truncated)
        angle = (Rotation.from_quat(env.object_quat.numpy()) * goal.inv()).magnitude()
        distance = (env.object_pos - GOAL_POS).norm(dim=-1).numpy()
        clamped = actions.clamp(-1, 1).numpy()
        expected = -10.0 * distance + 1.0 / (angle + 0.1) - 0.0002 * (clamped**2).sum(-1) + 250.0 * (angle <= 0.1)
        np.testing.assert_allclose(reward[keep], expected[keep], rtol=1e-4, atol=1e-4)


def test_success_pays_counts_and_draws_only_the_next_goal(env):
    place_object(env, [3], pos=IN_THE_AIR)
    env.goal_quat[3] = env.object_quat[3]
    goals, positions, lengths = env.goal_quat.clone(), env.object_pos.clone(), env.episode_length_buf.clone()
    obs, reward, terminated, truncated, _ = env.step(hold_actions(env))
    reached = torch.zeros(NUM_ENVS, dtype=torch.bool)
    reached[3] = True
    assert not (terminated | truncated).any()
    assert reward[3] > 250.0 and reward[~reached].max() < 11.0
    assert torch.equal(env.successes, reached.float())
    assert torch.equal(env.goal_quat[~reached], goals[~reached])
    assert not torch.allclose(env.goal_quat[3], goals[3])
    torch.testing.assert_close(obs["policy"][:, 64:68], env.goal_quat)
    # nothing else happened to that environment
    assert (env.object_pos - positions).norm(dim=-1).max() < 0.05
    assert torch.equal(env.episode_length_buf, lengths + 1)
    assert torch.equal(env.targets[3], env.hand.data.joint_pos_target.torch[3, env._actuated_ids])


def test_tolerance_is_a_tenth_of_a_radian(env):
    # goals turned about z by the tolerance -+ 0.02 rad
    for env_id, angle in ((0, 0.08), (1, 0.12)):
        turn = Rotation.from_rotvec([0.0, 0.0, angle])
        goal = (turn * Rotation.from_quat(env.object_quat[env_id].numpy())).as_quat()
        env.goal_quat[env_id] = torch.tensor(goal, dtype=torch.float32)
    env._get_dones()
    assert env._reached[:2].tolist() == [True, False]


def test_drop_terminates_and_records_the_episode(env):
    env.successes[:] = torch.arange(NUM_ENVS, dtype=torch.float32)
    before = env.extras["successes"].clone()
    place_object(env, [5, 6], pos=[0.0, -0.2, 0.52 + 0.26])
    place_object(env, [7], pos=[0.0, -0.2, 0.52 + 0.20])
    _, _, terminated, truncated, extras = env.step(hold_actions(env))
    assert terminated.nonzero().flatten().tolist() == [5, 6]
    assert not truncated.any()
    assert extras["successes"][5:7].tolist() == [5.0, 6.0]
    others = torch.ones(NUM_ENVS, dtype=torch.bool)
    others[5:7] = False
    assert torch.equal(extras["successes"][others], before[others])
    assert env.successes[5:8].tolist() == [0.0, 0.0, 7.0]
    assert env.episode_length_buf[5:8].tolist() == [0, 0, 1]


def test_time_out_truncates_at_step_599(env):
    env.episode_length_buf[:4] = 597
    *_, truncated, _ = env.step(hold_actions(env))
    assert not truncated.any()
    _, _, terminated, truncated, _ = env.step(hold_actions(env))
    assert truncated.nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert not terminated.any()
    assert env.episode_length_buf[:5].tolist() == [0, 0, 0, 0, 2]


def test_final_obs_is_the_terminal_state(env, monkeypatch):
    # env 0 ends by a fall from a place the reset never puts the object, env 1 by a time-out as it reaches its goal
    place_object(env, [0], pos=[0.1, -0.15, 0.80])
    place_object(env, [1], pos=IN_THE_AIR)
    env.goal_quat[1] = env.object_quat[1]
    env.episode_length_buf[1] = 598
    terminal = {}
    reset_idx = env._reset_idx
    monkeypatch.setattr(
        env,
        "_reset_idx",
        lambda ids: (terminal.update(pos=env.object_pos.clone(), goal=env.goal_quat.clone()), reset_idx(ids)),
    )
    old_goal = env.goal_quat.clone()
    obs, reward, terminated, truncated, extras = env.step(hold_actions(env))
    assert terminated[0] and truncated[1] and reward[1] > 250.0
    assert extras["successes"][1] == 1.0
    final = extras["final_obs"]["policy"]
    assert final.shape == (NUM_ENVS, 88)
    # after 1/30 s of fall: g t^2 / 2 = 5.5 mm, up to 6.8 mm with the engine's steps of 1/120 s
    assert final[0, 48:51].tolist() == pytest.approx([0.1, -0.15, 0.80 - 0.0061], abs=8e-4)
    torch.testing.assert_close(final[:2, 48:51], terminal["pos"][:2])
    # the terminal observation shows the goal that would come next, as the reward of the old one is already paid
    torch.testing.assert_close(final[:2, 64:68], terminal["goal"][:2])
    assert not torch.allclose(final[1, 64:68], old_goal[1])
    # the returned observation belongs to the next episode
    assert obs["policy"][0, 50] < 0.58
    torch.testing.assert_close(obs["policy"][:2, 48:51], env.object_pos[:2])
    assert not torch.allclose(obs["policy"][1, 0:16], final[1, 0:16], atol=1e-3)
    # environments whose episode goes on have the same observation in both
    torch.testing.assert_close(final[2:], obs["policy"][2:])


def test_reset_distributions(env):
    joint_pos, offsets, goals, objects = [], [], [], []
    for _ in range(60):
        env.reset()
        joint_pos.append(by_name(env, env.hand.data.joint_pos.torch))
        offsets.append(env.object_pos - torch.tensor([0.0, -0.2, 0.56]))
        goals.append(env.goal_quat.clone())
        objects.append(env.object_quat.clone())
        assert env.hand.data.joint_vel.torch.abs().max() == 0.0
        assert env.object.data.root_vel_w.torch.abs().max() == 0.0
        torch.testing.assert_close(env.targets, joint_pos[-1])
    joint_pos, offsets = torch.cat(joint_pos), torch.cat(offsets)  # 1920 samples
    low, high = torch.maximum(0.2 * LOWER, LOWER), 0.2 * UPPER
    assert (joint_pos >= low - 1e-6).all() and (joint_pos <= high + 1e-6).all()
    # uniform: mean in the middle, deviation range / sqrt(12); 4 standard errors of 1920 samples are about 0.03 ranges
    free = torch.tensor([name != "thumb_joint_0" for name in JOINTS])
    span = (high - low)[free]
    assert ((joint_pos.mean(0) - (low + high) / 2)[free].abs() < 0.03 * span).all()
    torch.testing.assert_close(joint_pos.std(0)[free], span / math.sqrt(12), rtol=0.06, atol=0)
    # thumb_joint_0 is drawn from [0.056, 0.314] and clamped to 0.279: 86.5 % of the draws end at the limit
    at_limit = (joint_pos[:, 12] < LOWER[12] + 1e-6).float().mean()
    assert at_limit.item() == pytest.approx((0.27924 - 0.2 * 0.27924) / (0.2 * (1.57075 - 0.27924)), abs=0.035)
    assert offsets.abs().max() <= 0.01 + 1e-5
    torch.testing.assert_close(offsets.std(0), torch.full((3,), 0.01 / math.sqrt(3)), rtol=0.06, atol=0)
    for quats in (torch.cat(goals), torch.cat(objects)):
        torch.testing.assert_close(quats.norm(dim=-1), torch.ones(len(quats)), atol=1e-5, rtol=0)
        # R_x(pi u) R_y(pi v) = (sx cy, cx sy, sx sy, cx cy)
        x, y, z, w = quats.unbind(-1)
        torch.testing.assert_close(x * y, z * w, atol=1e-5, rtol=0)
        u = torch.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))  # roll of the roll-pitch-yaw angles
        assert abs((u / math.pi).mean()) < 0.06
        assert (u / math.pi).std().item() == pytest.approx(1 / math.sqrt(3), rel=0.06)


def test_actions_are_clamped(env):
    obs, *_ = env.step(torch.full((NUM_ENVS, 16), 7.0))
    torch.testing.assert_close(env.targets, UPPER.expand(NUM_ENVS, 16))
    assert (obs["policy"][:, 72:] == 1.0).all()
    env.step(torch.full((NUM_ENVS, 16), -7.0))
    torch.testing.assert_close(env.targets, LOWER.expand(NUM_ENVS, 16))
    env.step(torch.zeros(NUM_ENVS, 16))
    torch.testing.assert_close(env.targets, ((LOWER + UPPER) / 2).expand(NUM_ENVS, 16))


def test_object_falls_and_spins_down_as_specified(env):
    place_object(env, range(NUM_ENVS), pos=[0.05, -0.2, 0.70], ang_vel=(0.0, 0.0, 3.0))
    env.step(hold_actions(env))
    # four steps of 1/120 s: v = -g / 30; angular damping 0.5 /s
    velocity = env.object.data.root_lin_vel_w.torch
    torch.testing.assert_close(velocity, torch.tensor([0.0, 0.0, -0.327]).expand(NUM_ENVS, 3), atol=2e-3, rtol=0)
    spin = env.object.data.root_ang_vel_w.torch[:, 2]
    torch.testing.assert_close(spin, torch.full((NUM_ENVS,), 3.0 * (1 - 0.5 / 120) ** 4), atol=2e-3, rtol=0)


def test_hand_has_no_weight_and_its_drives_hold(env):
    # with gravity on the links the fingers would sag by more than 10 mrad
    place_object(env, range(NUM_ENVS), pos=[0.0, -0.2, 0.74])
    actions = hold_actions(env)
    for _ in range(3):
        env.step(actions)
    assert (env.joint_pos(env._actuated_ids) - env.targets).abs().max() < 1e-3


def test_drive_torque_and_speed_are_limited(env):
    speeds = []
    for sign in (1.0, -1.0, 1.0):
        for _ in range(8):
            env.step(torch.full((NUM_ENVS, 16), sign))
            assert env.hand.data.applied_torque.torch.abs().max() <= 0.5 + 1e-6
            speeds.append(env.hand.data.joint_vel.torch.abs().max())
    assert 3.0 < max(speeds) <= 6.283 * 1.05


def test_idle_hand_holds_a_resting_cube_without_shaking(env):
    # fingers a little curled, cube flat on the palm
    curl = torch.tensor([0.0, 0.35, 0.4, 0.4] * 3 + [0.6, 0.3, 0.3, 0.3])
    actions = ((2 * curl - UPPER - LOWER) / (UPPER - LOWER)).repeat(NUM_ENVS, 1)
    env.hand.write_joint_position_to_sim_index(position=curl.repeat(NUM_ENVS, 1), joint_ids=env._joint_ids)
    place_object(env, range(NUM_ENVS), pos=[0.0, -0.15, 0.57], quat=[0.0, 0.0, 0.0, 1.0])
    for _ in range(60):
        env.step(actions)
    joint_speed, object_speed, height = [], [], []
    for _ in range(30):
        _, _, terminated, _, _ = env.step(actions)
        assert not terminated.any()
        joint_speed.append(env.hand.data.joint_vel.torch.abs().max())
        object_speed.append(env.object.data.root_lin_vel_w.torch.norm(dim=-1).max())
        height.append(env.object_pos[:, 2])
    assert max(joint_speed) < 0.02
    assert max(object_speed) < 0.005
    assert torch.stack(height).std(0).max() < 1e-4


def test_random_actions_stay_finite_and_in_range(env):
    finished = torch.zeros(NUM_ENVS)
    for _ in range(500):
        obs, reward, terminated, truncated, extras = env.step(random_actions())
        assert torch.isfinite(obs["policy"]).all() and torch.isfinite(reward).all()
        assert obs["policy"].abs().max() <= 5.0
        joint_pos = by_name(env, env.hand.data.joint_pos.torch)
        # limits are soft constraints: fast joints may run a little over
        assert (joint_pos > LOWER - 0.1).all() and (joint_pos < UPPER + 0.1).all()
        torch.testing.assert_close(env.object_quat.norm(dim=-1), torch.ones(NUM_ENVS), atol=1e-4, rtol=0)
        assert reward.max() <= 260.0 and reward.min() > -10.0
        finished += terminated | truncated
    assert (finished > 0).float().mean() > 0.5
    log = extras["log"]
    assert all(value.ndim == 0 and torch.isfinite(value) for value in log.values())


def test_metrics_by_block(env, monkeypatch):
    monkeypatch.setattr(env.cfg, "num_blocks", 4)
    # environment i belongs to block i // 8; block k finished with 10 k successes and its last one with 8 more
    env._finished_successes[:] = torch.arange(NUM_ENVS) // 8 * 10.0
    env._finished_successes[7::8] += 8.0
    *_, extras = env.step(hold_actions(env))
    log = extras["log"]
    assert [log[f"Block_{block}/successes"].item() for block in range(4)] == [1.0, 11.0, 21.0, 31.0]
    assert log["Leader/successes"].item() == 1.0
    assert log["Metrics/successes"].item() == 16.0
    assert extras["successes"] is env._finished_successes
    assert log["Metrics/rotation_error"].item() == pytest.approx(env._rotation_error.mean().item())
    monkeypatch.setattr(env.cfg, "num_blocks", 1)
    *_, extras = env.step(hold_actions(env))
    assert not any(name.startswith(("Block", "Leader")) for name in extras["log"])


def test_weights_of_the_reward_may_differ_between_environments(env):
    saved = {name: weight.clone() for name, weight in env.reward_weights.items()}
    for name, weight in env.reward_weights.items():
        assert torch.equal(weight, torch.full((NUM_ENVS,), float(getattr(env.cfg, name))))
        weight.zero_()
    env.reward_weights["position_reward_scale"][8:16] = -2.0
    env.reward_weights["action_reward_scale"][16:24] = -3.0
    actions = random_actions()
    _, reward, *_, extras = env.step(actions)
    for name, weight in saved.items():
        env.reward_weights[name].copy_(weight)
    assert (reward[:8] == 0.0).all() and (reward[24:] == 0.0).all()
    torch.testing.assert_close(reward[8:16], -2.0 * env._position_error[8:16])
    torch.testing.assert_close(reward[16:24], -3.0 * actions[16:24].square().sum(-1))
    assert "true_objective" not in extras


def test_state_survives_a_round_trip(env):
    env.common_step_counter = 1234
    finished = torch.arange(NUM_ENVS, dtype=torch.float32)
    env._finished_successes.copy_(finished)
    state = env.state_dict()
    env.common_step_counter = 0
    env._finished_successes.zero_()
    assert env.load_state_dict(state) is None
    assert env.common_step_counter == 1234
    *_, extras = env.step(torch.zeros(NUM_ENVS, 16))
    # the metric goes on from where the run was stopped
    assert extras["log"]["Metrics/successes"].item() == pytest.approx(finished.mean().item(), abs=1.0)
    assert torch.equal(extras["successes"][~env.reset_buf], finished[~env.reset_buf])
    env._finished_successes.zero_()


def test_steps_under_inference_mode_leave_the_environment_usable(env):
    with torch.inference_mode():
        env.reset()
        env.step(random_actions())
    env.reset()
    env.episode_length_buf[0] = 598
    env.step(random_actions())


def test_partial_reset_leaves_other_environments_alone(env):
    env.step(random_actions())
    joint_pos, objects, goals = env.hand.data.joint_pos.torch.clone(), env.object_pos.clone(), env.goal_quat.clone()
    env._reset_idx(torch.tensor([2, 9], dtype=torch.int32))
    others = [i for i in range(NUM_ENVS) if i not in (2, 9)]
    assert torch.equal(env.hand.data.joint_pos.torch[others], joint_pos[others])
    torch.testing.assert_close(env.object_pos[others], objects[others])
    assert torch.equal(env.goal_quat[others], goals[others])
    assert not torch.allclose(env.goal_quat[[2, 9]], goals[[2, 9]])


def test_a_step_reads_nothing_by_index_tensors(env):
    # on two cores with physics beside it such a read took 3 ms instead of 7 us, a tenth of a step in all
    with Indexing() as indexing:
        env.step(torch.zeros(NUM_ENVS, 16))
    assert indexing.count == 0


def test_the_official_task_draws_its_random_numbers_in_this_order(env):
    """So that a run repeats itself to the last bit: only a task with a curriculum may draw more."""
    ids = torch.arange(NUM_ENVS)
    torch.manual_seed(7)
    env._reset_idx(ids)
    following = torch.rand(3)
    torch.manual_seed(7)
    goal = (2.0 * torch.rand(2, NUM_ENVS) - 1.0) * math.pi
    joints, position = torch.rand(NUM_ENVS, 16), torch.rand(NUM_ENVS, 3)
    object_turn = (2.0 * torch.rand(2, NUM_ENVS) - 1.0) * math.pi
    torch.testing.assert_close(torch.rand(3), following, atol=0, rtol=0)
    for drawn, quat in ((goal, env.goal_quat), (object_turn, env.object_quat)):
        expected = torch.tensor(Rotation.from_euler("XY", drawn.T.numpy()).as_quat(), dtype=torch.float32)
        torch.testing.assert_close((expected * quat).sum(-1).abs(), torch.ones(NUM_ENVS))
    torch.testing.assert_close(
        by_name(env, env.hand.data.joint_pos.torch), (0.2 * (LOWER + joints * (UPPER - LOWER))).clamp(LOWER, UPPER)
    )
    start = torch.tensor([0.0, -0.2, 0.56]) + 0.01 * (2.0 * position - 1.0)
    torch.testing.assert_close(env.object_pos, start, atol=1e-5, rtol=0)
    # a step draws one goal for each environment and nothing else
    torch.manual_seed(8)
    env._get_dones()
    env.reset_buf = torch.zeros(NUM_ENVS, dtype=torch.bool)
    env._get_rewards()
    following = torch.rand(3)
    torch.manual_seed(8)
    torch.rand(2, NUM_ENVS)
    torch.testing.assert_close(torch.rand(3), following, atol=0, rtol=0)
