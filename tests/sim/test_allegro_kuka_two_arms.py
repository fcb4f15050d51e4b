"""SAPG-AllegroKukaTwoArms-Reorient on ovphysx: two arms, and all that the two tasks with them have in common."""

import math

import numpy as np
import pytest
import torch
from kuka_env import JOINTS, by_name, hold_actions, make, park_robot, put_object, put_robot, random_return
from scipy.spatial.transform import Rotation
from sim_env import Indexing

from same_state import assert_same_state
from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO
from sapg_isaaclab.tasks.allegro_kuka.joint_stops import overshoot
from sapg_isaaclab.tasks.allegro_kuka.keypoints import rotate

NUM_ENVS, BLOCKS = 16, 2
LOWER = torch.tensor([joint.lower for joint in KUKA_ALLEGRO.joints])
UPPER = torch.tensor([joint.upper for joint in KUKA_ALLEGRO.joints])
DEFAULT = torch.tensor([-1.571, 1.571, 0.0, 1.6, 0.0, 1.485, 2.358, *[0.0] * 16])
FINGERS = ("index", "middle", "ring", "thumb")
THUMB = JOINTS.index("thumb_joint_0")

# Forward kinematics of the official URDF at the default pose with its hand at 0, from an independent implementation:
# points of arm 0 in the environment frame [m]. Those of arm 1 have x and y of the other sign.
LINK_7 = (-0.63113, -0.00010, 0.74903)
QUATS = [(0.61498, 0.25401, 0.68991, 0.28512), (0.25401, -0.61498, -0.28512, 0.68991)]
PALM = (-0.47056, 0.01404, 0.75333)
TIPS = [
    (-0.28797, 0.06899, 0.78623),
    (-0.28514, 0.01148, 0.78646),
    (-0.28797, -0.04603, 0.78603),
    (-0.52808, 0.19498, 0.77708),
]
THUMB_AT_ITS_LIMIT = (-0.52216, 0.18725, 0.73166)
MIRROR = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])


@pytest.fixture(scope="module")
def env():
    env = make("Reorient", "AllegroKukaTwoArms", num_envs=NUM_ENVS, num_blocks=BLOCKS)
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    env.reset()
    env.pushes.probability.zero_()


def random_actions():
    return 2.0 * torch.rand(NUM_ENVS, 46) - 1.0


def of_arms(env, read):
    """Joint tensor of both arms in the task's order, by name: (N, 46)."""
    return torch.cat([by_name(env, read(env.arms[arm].robot.data).torch, arm) for arm in (0, 1)], -1)


def test_spaces_rates_and_scene(env):
    assert env.single_observation_space["policy"].shape == (196,) and env.state_space is None
    assert env.single_action_space.shape == (46,)
    assert (env.max_episode_length, env.cfg.hold_steps) == (600, 1)
    assert env.step_dt == pytest.approx(1.0 / 60.0)
    pitch = (env.scene.env_origins[1:] - env.scene.env_origins[:-1]).norm(dim=-1)
    assert pitch.min().item() == pytest.approx(3.5)
    for arm, sign in zip(env.arms, (-1.0, 1.0)):
        base = arm.robot.data.root_link_pose_w.torch.clone()
        base[:, :3] -= env.scene.env_origins
        half = math.sqrt(0.5)
        expected = torch.tensor([1.1 * sign, 0.0, 0.0, 0.0, 0.0, -half * sign, half]).expand_as(base)
        torch.testing.assert_close(base, expected, atol=1e-5, rtol=0)
        assert [arm.robot.joint_names[i] for i in arm.joint_ids] == JOINTS
        masses = dict(zip(arm.robot.body_names, arm.robot.data.body_mass.torch[0].tolist()))
        assert masses == pytest.approx({body.name: body.mass for body in KUKA_ALLEGRO.bodies}, rel=1e-5)
    edges = env.object_edges.view(BLOCKS, -1, 3)
    assert torch.equal(edges[0], edges[1]) and len(torch.unique(edges[0], dim=0)) == NUM_ENVS // BLOCKS


def test_forward_kinematics_of_both_arms(env):
    put_robot(env, torch.cat((DEFAULT, DEFAULT)))
    env._measure()
    expected = MIRROR.unsqueeze(1) * torch.tensor([LINK_7, PALM, *TIPS])  # arms, points, xyz
    for arm in (0, 1):
        robot, tips = env.arms[arm].robot, env.measured.tips[:, 4 * arm : 4 * arm + 4]
        link = robot.data.body_link_pos_w.torch[:, robot.body_names.index("iiwa7_link_7")] - env.scene.env_origins
        points = torch.stack((link, env.measured.palm_pos[:, arm], *tips.unbind(1)), 1)
        torch.testing.assert_close(points, expected[arm].expand_as(points), atol=1e-5, rtol=0)
        dot = (env.measured.palm_quat[:, arm] * torch.tensor(QUATS[arm])).sum(-1).abs()
        torch.testing.assert_close(dot, torch.ones(NUM_ENVS), atol=1e-5, rtol=0)
    index_tips = env.measured.tips_from_palm[0, :, 0]
    torch.testing.assert_close(index_tips, MIRROR * torch.tensor([0.18259, 0.05495, 0.03290]), atol=2e-5, rtol=0)
    # with the thumb's first joint within its limits
    put_robot(env, torch.cat((DEFAULT, DEFAULT)).clamp(env.arms.lower, env.arms.upper))
    env._measure()
    thumbs = env.measured.tips[0, 3::4]
    torch.testing.assert_close(thumbs, MIRROR * torch.tensor(THUMB_AT_ITS_LIMIT), atol=1e-5, rtol=0)


def test_actions_are_absolute_and_hold_the_default_pose(env):
    put_object(env, range(NUM_ENVS), [0.0, 1.5, 20.0])
    pose = torch.cat((DEFAULT, DEFAULT)).clamp(env.arms.lower, env.arms.upper)
    put_robot(env, pose)
    hand = (2.0 * DEFAULT.clamp(LOWER, UPPER) - LOWER - UPPER)[7:] / (UPPER - LOWER)[7:]
    arm = torch.tensor([-0.529480, 0.750095, 0.0, 0.763942, 0.0, 0.709034, 0.772019])
    actions = torch.cat((arm, hand, arm, hand)).expand(NUM_ENVS, 46)
    for _ in range(20):
        env.step(actions)
        torch.testing.assert_close(env.targets, pose.expand(NUM_ENVS, 46), atol=2e-5, rtol=0)
        torch.testing.assert_close(of_arms(env, lambda data: data.joint_pos_target), env.targets)
    assert (env.joint_pos - pose).abs().max() < 2e-3
    # whatever the targets were before: 0 is the middle of the range, beyond 1 is 1
    env.step(torch.zeros(NUM_ENVS, 46))
    middle = ((LOWER + UPPER) / 2).repeat(2)
    assert middle[THUMB].item() == pytest.approx(0.925, abs=1e-3) and (middle[:7] == 0.0).all()
    torch.testing.assert_close(env.targets, middle.expand(NUM_ENVS, 46))
    env.step(7.0 * torch.ones(NUM_ENVS, 46))
    torch.testing.assert_close(env.targets, UPPER.repeat(2).expand(NUM_ENVS, 46))


@pytest.mark.parametrize("moving", [0, 1])
def test_each_arm_moves_alone(env, moving):
    put_object(env, range(NUM_ENVS), [0.0, 1.5, 20.0])
    park_robot(env)
    start, actions = env.joint_pos.clone(), hold_actions(env)
    own = slice(23 * moving, 23 * moving + 23)
    other = slice(23 * (1 - moving), 23 * (1 - moving) + 23)
    actions[:, own] = (actions[:, own] + 0.25).clamp(max=1.0)
    for _ in range(25):
        env.step(actions)
    assert ((env.joint_pos - start)[:, own] > 0.05).all()
    assert (env.joint_pos - start)[:, other].abs().max() < 2e-3
    # the measured palm is that of the arm that moved
    palms = env.measured.palm_pos.clone()
    park_robot(env)
    env._measure()
    moved = (palms - env.measured.palm_pos).norm(dim=-1)
    assert (moved[:, moving] > 0.1).all() and moved[:, 1 - moving].max() < 1e-2


def test_arms_touch_one_another(env):
    """Both hands put into the middle, where fingers meet: alone an arm stays there, two push one another away."""
    put_object(env, range(NUM_ENVS), [0.0, 1.5, 20.0])
    lower, upper = env.arms.lower, env.arms.upper
    poses = {"up": torch.zeros(23), "here": torch.zeros(23), "there": torch.zeros(23)}
    poses["here"][:2] = torch.tensor([-1.571, 1.12])
    poses["there"][:2] = torch.tensor([-1.553, 1.12])  # 2 cm beside, so that finger meets finger
    pushed = {}
    for pair in (("here", "up"), ("up", "there"), ("here", "there")):
        targets = torch.cat([poses[name] for name in pair]).clamp(lower, upper)
        put_robot(env, targets)
        for _ in range(12):
            env.step(((2.0 * targets - lower - upper) / (upper - lower)).expand(NUM_ENVS, 46))
        pushed[pair] = (env.joint_pos - targets).abs().view(NUM_ENVS, 2, 23).amax(-1)
    assert pushed["here", "up"].max() < 1e-3 and pushed["up", "there"].max() < 1e-3
    assert pushed["here", "there"].min() > 0.02


def test_observation_item_by_item(env):
    for _ in range(4):
        before = (env.closest_keypoint.clone(), env.lifted.clone())
        obs, reward, terminated, truncated, _ = env.step(random_actions())
    obs, data, origins = obs["policy"], env.object.data, env.scene.env_origins
    keep = ~(terminated | truncated | env._reached)
    joint_pos = of_arms(env, lambda data: data.joint_pos)
    lower, upper = LOWER.repeat(2), UPPER.repeat(2)
    corners = torch.tensor([[1.0, 1, 1], [1, 1, -1], [-1, -1, 1], [-1, -1, -1]])
    offsets = corners * 0.75 * env.object_edges.unsqueeze(1)
    points = (data.root_pos_w.torch - origins).unsqueeze(1) + rotate(data.root_quat_w.torch.unsqueeze(1), offsets)
    goals = env.goal_pos.unsqueeze(1) + rotate(env.goal_quat.unsqueeze(1), offsets)
    expected = [
        (0, 46, (2 * joint_pos - upper - lower) / (upper - lower)),
        (46, 92, of_arms(env, lambda data: data.joint_vel)),
        (118, 122, data.root_quat_w.torch),
        (122, 125, data.root_lin_vel_w.torch),
        (125, 128, data.root_ang_vel_w.torch),
        (176, 188, (points - goals).flatten(1)),
        (188, 191, env.object_edges / 0.05),
        (191, 192, before[0].unsqueeze(-1)),
        (192, 193, before[1].float().unsqueeze(-1)),
        (193, 194, torch.full((NUM_ENVS, 1), math.log(4 / 10 + 1))),
        (194, 195, torch.zeros(NUM_ENVS, 1)),
        (195, 196, 0.01 * reward.unsqueeze(-1)),
    ]
    for arm in (0, 1):
        robot, names = env.arms[arm].robot.data, env.arms[arm].robot.body_names
        palm = names.index("iiwa7_link_7")
        quat = robot.body_link_quat_w.torch[:, palm]
        center = torch.tensor(Rotation.from_quat(quat.numpy()).apply([0.0, -0.02, 0.16])).float()
        center += robot.body_link_pos_w.torch[:, palm] - origins
        tips = []
        for finger, reach in zip(FINGERS, (0.05, 0.05, 0.05, 0.06)):
            link = names.index(f"{finger}_link_3")
            turn = Rotation.from_quat(robot.body_link_quat_w.torch[:, link].numpy())
            tip = robot.body_link_pos_w.torch[:, link] - origins + torch.tensor(turn.apply([reach, 0.005, 0])).float()
            tips.append(tip - center)
        expected += [
            (92 + 3 * arm, 95 + 3 * arm, center),
            (98 + 10 * arm, 102 + 10 * arm, quat),
            (102 + 10 * arm, 105 + 10 * arm, robot.body_com_lin_vel_w.torch[:, palm]),
            (105 + 10 * arm, 108 + 10 * arm, robot.body_com_ang_vel_w.torch[:, palm]),
            (128 + 12 * arm, 140 + 12 * arm, torch.cat(tips, -1)),
            (152 + 12 * arm, 164 + 12 * arm, (points - center.unsqueeze(1)).flatten(1)),
        ]
    assert sum(stop - start for start, stop, _ in expected) == 196
    assert keep.sum() > NUM_ENVS / 2
    for start, stop, value in expected:
        torch.testing.assert_close(obs[keep, start:stop], value[keep].clamp(-10, 10), atol=3e-5, rtol=1e-5)


def test_reward_equals_the_formula_on_the_states(env):
    closest_tip, closest_keypoint = np.full((NUM_ENVS, 8), np.inf), np.full(NUM_ENVS, np.inf)
    lifted, valid = np.zeros(NUM_ENVS), np.ones(NUM_ENVS, dtype=bool)
    after_lift = 0.0
    for step in range(12):
        if step == 5:  # half of the objects leap between the hands, which then come closer
            put_object(env, range(0, NUM_ENVS, 2), [0.1, -0.1, 0.72], lin_vel=(-0.6, 0.6, 1.5))
        goals, quats, reset_tips = env.goal_pos.clone(), env.goal_quat.clone(), np.isinf(closest_tip)
        _, reward, terminated, truncated, _ = env.step(random_actions())
        valid &= ~(terminated | truncated | env._reached).numpy()
        tip = np.linalg.norm(env.measured.tips.numpy() - env.object_pos.numpy()[:, None], axis=-1)
        corners = torch.tensor([[1.0, 1, 1], [1, 1, -1], [-1, -1, 1], [-1, -1, -1]])
        offsets = corners * 0.75 * env.object_edges.unsqueeze(1)
        points = env.object_pos.unsqueeze(1) + rotate(env.object_quat.unsqueeze(1), offsets)
        away = points - goals.unsqueeze(1) - rotate(quats.unsqueeze(1), offsets)
        keypoint = away.norm(dim=-1).amax(-1).numpy()
        height = 0.05 + env.object_pos[:, 2].numpy() - 0.63
        just = (height > 0.15) & (lifted == 0)
        lifted = np.maximum(lifted, just)
        tip_gain = np.where(reset_tips, 0.0, np.clip(closest_tip - tip, 0, 10)).sum(-1)
        gain = np.where(np.isinf(closest_keypoint), 0.0, np.clip(closest_keypoint - keypoint, 0, 100))
        closest_tip, closest_keypoint = np.minimum(closest_tip, tip), np.minimum(closest_keypoint, keypoint)
        expected = (
            50 * tip_gain  # of eight fingertips, also of a lifted object; joint speed costs nothing
            + 20 * np.clip(height, 0, 0.5) * (1 - lifted)
            + 300 * just
            + 200 * gain * lifted
            + 1000 * (keypoint <= 1.5 * 0.075)
        )
        after_lift += (tip_gain * lifted)[valid].sum()
        np.testing.assert_allclose(reward.numpy()[valid], expected[valid], rtol=1e-4, atol=2e-4)
    assert valid.sum() > NUM_ENVS / 2 and lifted[valid].any() and not lifted[valid].all() and after_lift > 0.01


def test_reset_distributions(env):
    joint_pos, joint_vel, positions, quats, goals = [], [], [], [], []
    for _ in range(50):
        env.reset()
        joint_pos.append(of_arms(env, lambda data: data.joint_pos))
        joint_vel.append(of_arms(env, lambda data: data.joint_vel))
        positions.append(env.object_pos)
        quats.append(env.object_quat.clone())
        goals.append(env.goal_pos.clone())
        torch.testing.assert_close(env.targets, joint_pos[-1])
    joint_pos, joint_vel = torch.cat(joint_pos), torch.cat(joint_vel)  # 800 samples
    low, high = (0.9 * DEFAULT + 0.1 * LOWER).repeat(2), (0.9 * DEFAULT + 0.1 * UPPER).repeat(2)
    assert (low[3].item(), high[3].item()) == pytest.approx((1.23056, 1.64944))
    thumbs = torch.tensor([THUMB, 23 + THUMB])
    assert (joint_pos[:, thumbs] - LOWER[THUMB]).abs().max() < 1e-6
    free = torch.ones(46, dtype=torch.bool)
    free[thumbs] = False
    span = (high - low)[free]
    assert (joint_pos[:, free] >= low[free] - 1e-5).all() and (joint_pos[:, free] <= high[free] + 1e-5).all()
    # four standard errors of the mean of 800 samples are 0.041 ranges
    assert ((joint_pos.mean(0) - (low + high) / 2)[free].abs() < 0.045 * span).all()
    torch.testing.assert_close(joint_pos.std(0)[free], span / math.sqrt(12), rtol=0.1, atol=0)
    assert joint_vel.abs().max() <= 0.5 + 1e-5
    torch.testing.assert_close(joint_vel.std(0), torch.full((46,), 0.5 / math.sqrt(3)), rtol=0.1, atol=0)
    # the arms start differently from one another
    assert torch.corrcoef(joint_pos[:, [0, 23]].T)[0, 1].abs() < 0.15
    positions, goals = torch.cat(positions), torch.cat(goals)
    away = positions - torch.stack((0.35 * positions[:, 0].sign(), torch.zeros(800), torch.full((800,), 0.63)), -1)
    noise = torch.tensor([0.1, 0.1, 0.02])
    assert (away.abs() <= noise + 1e-5).all()
    torch.testing.assert_close(away.std(0), noise / math.sqrt(3), rtol=0.1, atol=0)
    x, y, _, _ = torch.cat(quats).unbind(-1)
    z_axis = 1 - 2 * (x * x + y * y)
    assert z_axis.mean().abs() < 0.085 and z_axis.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.1)
    assert (goals[:, 0].abs() >= 0.55 - 1e-6).all() and (goals[:, 0].abs() <= 0.95 + 1e-6).all()
    assert (goals[:, 1].abs() <= 0.5 + 1e-6).all() and (goals[:, 2] >= 0.68).all() and (goals[:, 2] <= 1.05).all()
    # every other object starts at +x, every other goal is there, every other goal is on the object's side
    right, wanted = positions[:, 0] > 0, goals[:, 0] > 0
    for half in (right, wanted, right == wanted):
        assert half.float().mean().item() == pytest.approx(0.5, abs=0.075)


def test_hand_over_pays_the_way_and_the_goal(env):
    """An oracle carries every object from one arm to the other."""
    park_robot(env)
    env.goal_pos[:] = torch.tensor([0.75, 0.2, 0.9]) * torch.where(env.object_pos[:, :1] > 0, MIRROR[1], MIRROR[0])
    env.measured.aimed = True
    start, start_quat = env.object_pos.clone(), env.object_quat.clone()
    goals, quats = env.goal_pos.clone(), env.goal_quat.clone()
    assert (start[:, 0] * goals[:, 0] < 0).all()
    above, total, before = torch.tensor([0.0, 0.0, 0.15]), torch.zeros(NUM_ENVS), env.closest_keypoint.clone()
    put_object(env, range(NUM_ENVS), start + above, start_quat)
    _, reward, *_ = env.step(hold_actions(env))
    assert env.lifted.all() and (reward > 299.0).all() and (before < 0.0).all()
    began = env.closest_keypoint.clone()
    for share in torch.linspace(0.0, 1.0, 20)[1:]:
        arrived = share == 1.0
        put_object(env, range(NUM_ENVS), torch.lerp(start + above, goals, share), quats if arrived else start_quat)
        _, reward, terminated, truncated, extras = env.step(hold_actions(env))
        assert not (terminated | truncated).any()
        total += reward
        if not arrived:
            assert (env.successes == 0.0).all() and (reward < 999.0).all()
    assert (env.successes == 1.0).all() and (env.episode_length_buf == 0).all() and env.lifted.all()
    # 200 per metre of the way, 1000 for the goal, and something for the fingertips that were passed
    assert (total > 1000.0 + 199.0 * (began - 0.02)).all() and (reward > 1000.0 - 1.0).all()
    assert extras["log"]["Reward/goal_bonus"].item() == pytest.approx(1000.0)
    assert extras["log"]["Reward/arm_velocity"] == extras["log"]["Reward/hand_velocity"] == 0.0
    # the next goal is shown, the object stays where it is
    assert not torch.isclose(env.goal_pos, goals).all(-1).any() and (env.object_pos - goals).norm(dim=-1).max() < 0.02
    assert total.mean() > 10 * random_return(env, steps=20).mean().clamp(min=1.0)


def test_what_ends_an_episode(env):
    park_robot(env)
    everywhere = torch.tensor([0.0, 0.0, 0.9]).repeat(NUM_ENVS, 1)
    everywhere[0] = torch.tensor([0.0, 1.6, 0.9])  # farther than 1.5 m from any hand
    everywhere[1, 2] = 0.09
    everywhere[2] = env.goal_pos[2]
    put_object(env, range(NUM_ENVS), everywhere, env.goal_quat)
    env.successes[2], env.episode_length_buf[3] = 49.0, 598
    env._finished_successes.zero_()
    _, _, terminated, truncated, extras = env.step(hold_actions(env))
    assert env.measured.tip_distance.shape == (NUM_ENVS, 8) and not terminated[0]
    assert terminated.nonzero().flatten().tolist() == [1, 2] and truncated.nonzero().flatten().tolist() == [3]
    assert extras["successes"][:4].tolist() == [0.0, 0.0, 50.0, 0.0]


def test_joints_beyond_their_limits_are_put_back_on_the_arm_they_belong_to(env, monkeypatch):
    park_robot(env)
    column = 23 + JOINTS.index("index_joint_1")
    beyond, speed = env.joint_pos.clone(), torch.zeros(NUM_ENVS, 46)
    beyond[1, column], speed[1, column] = env.arms.upper[column] + 0.1, 3.0
    for on_cpu in (True, False):
        monkeypatch.setattr(env.stops, "host_knows", on_cpu)
        env.arms.put(beyond, speed, torch.arange(NUM_ENVS, dtype=torch.int32))
        env.stops.hold(env.joint_pos, env.joint_vel)
        expected = beyond.clone()
        expected[1, column] = env.arms.upper[column]
        torch.testing.assert_close(env.joint_pos, expected)
        assert (env.joint_vel == 0.0).all()


def test_curriculum_and_statistics_go_on_after_a_resume(env):
    env._finished_successes.fill_(3.0)
    env.common_step_counter = 2999
    env.step(hold_actions(env))
    assert env.curriculum.values["tolerance"].item() == pytest.approx(0.0675)
    saved = env.state_dict()
    env._finished_successes.zero_()
    env.curriculum.values["tolerance"].fill_(0.075)
    env.load_state_dict(saved)
    assert_same_state(env.state_dict(), saved)


def test_random_actions_stay_finite_and_within_limits(env):
    run_random(env, 60)


def test_a_step_reads_nothing_by_index_tensors(env):
    with Indexing() as indexing:
        env.step(torch.zeros(NUM_ENVS, 46))
    assert indexing.count == 0


def run_random(env, steps):
    """Random actions, 5 of every 50 steps at full strength."""
    ended = 0
    for step in range(steps):
        actions = 2.0 * torch.rand(env.num_envs, 46) - 1.0
        obs, reward, terminated, truncated, _ = env.step(actions.sign() if step % 50 >= 45 else actions)
        assert torch.isfinite(obs["policy"]).all() and torch.isfinite(reward).all()
        assert obs["policy"].abs().max() <= 10.0
        assert overshoot(env.joint_pos, env.arms.lower, env.arms.upper).max() <= env.cfg.joint_limit_tolerance + 1e-6
        assert (env.object_pos[:, 2] > -0.05).all()
        ended += (terminated | truncated).sum().item()
    assert not env.nan_guard.total
    return ended


@pytest.mark.slow
@pytest.mark.release
def test_two_thousand_random_steps_of_64_environments_stay_finite_and_within_limits(env):
    env.close()
    large = make("Reorient", "AllegroKukaTwoArms", num_envs=64)
    ended = run_random(large, 2000)
    large.close()
    print(f"{ended} episodes ended")
    assert ended > 64
