"""SAPG-AllegroKukaTwoArms-Regrasp on ovphysx: one keypoint, and objects that are put back on a side at random."""

import gymnasium as gym
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg
from kuka_env import hold_actions, make, park_robot, put_object

NUM_ENVS = 16


@pytest.fixture(scope="module")
def env():
    env = make("Regrasp", "AllegroKukaTwoArms", num_envs=NUM_ENVS)
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    env.reset()
    env.pushes.probability.zero_()
    park_robot(env)


def test_sizes(env):
    assert env.single_observation_space["policy"].shape == (169,)
    assert (env.max_episode_length, env.cfg.hold_steps, env.cfg.force_scale) == (400, 30, 2.0)


def test_held_at_the_goal_the_object_is_put_back_on_either_side(env):
    goals, everywhere = env.goal_pos.clone(), range(NUM_ENVS)
    for step in range(30):
        put_object(env, everywhere, goals)
        obs, reward, terminated, truncated, _ = env.step(hold_actions(env))
        assert not (terminated | truncated).any()
        assert (reward >= 1000.0 / 30.0 - 1.0).all()
        assert (env.successes == float(step == 29)).all()
    assert not env.lifted.any() and (env.closest_tip < 0.0).all() and (env.near_steps == 0).all()
    away = env.object_pos - torch.tensor([0.0, 0.0, 0.63])
    assert (away[:, 0].abs() >= 0.25 - 1e-4).all() and (away[:, 0].abs() <= 0.45 + 1e-4).all()
    assert (away[:, 0] > 0).any() and (away[:, 0] < 0).any()
    assert (away[:, 1:].abs() <= torch.tensor([0.1, 0.02]) + 1e-4).all()
    assert not torch.isclose(env.goal_pos, goals).all(-1).any() and (env.goal_pos[:, 0].abs() >= 0.55 - 1e-6).all()
    # the observation shows both: palm 0, keypoint from there, keypoint from the goal
    seen = obs["policy"][:, 92:95] + obs["policy"][:, 152:155]
    torch.testing.assert_close(seen, env.object_pos, atol=1e-5, rtol=0)
    torch.testing.assert_close(obs["policy"][:, 158:161], env.object_pos - env.goal_pos, atol=1e-5, rtol=0)


def test_what_a_robot_would_see_and_what_is_drawn_for_each_arm(env):
    env.close()
    task = "SAPG-AllegroKukaTwoArms-Regrasp"
    options = ["presets=randomized", "env.asymmetric=true", "env.pose_estimate.max_delay=2"]
    cfg = parse_env_cfg(task, device="cpu", num_envs=6, overrides=options)
    cfg.seed, cfg.num_blocks, cfg.max_shapes = 0, 2, 1
    drawn = gym.make(task, cfg=cfg).unwrapped
    seen, _ = drawn.reset()
    for _ in range(3):
        seen, *_ = drawn.step(torch.zeros(6, 46))
    assert seen["policy"].shape == (6, 192) and seen["critic"].shape == (6, 169)
    stiffness = [arm.robot.data.joint_stiffness.torch / 40.0 for arm in drawn.arms]
    assert all(0.5 <= each.min() < each.max() <= 2.0 for each in stiffness)
    for values in (*stiffness, drawn.object.data.body_mass.torch):
        first, second = values.view(2, 3, -1)
        assert first.equal(second) and len(first.unique(dim=0)) == 3
    assert not stiffness[0].equal(stiffness[1])
    drawn.close()
