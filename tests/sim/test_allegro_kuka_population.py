"""SAPG-AllegroKuka-Regrasp on ovphysx: what differs between the blocks of a population."""

import pytest
import torch
from kuka_env import hold_actions, make, park_robot, put_object

from same_state import assert_same_state
from sapg_isaaclab.tasks.allegro_kuka.env_cfg import CurriculumCfg

NUM_ENVS, BLOCKS = 12, 3
BLOCK = [slice(0, 4), slice(4, 8), slice(8, 12)]


@pytest.fixture(scope="module")
def env():
    env = make("Regrasp", num_envs=NUM_ENVS, num_blocks=BLOCKS, curriculum=CurriculumCfg(gate="block"))
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    saved = env.state_dict(), {name: weight.clone() for name, weight in env.reward_weights.items()}
    env.reset()
    yield
    env.load_state_dict(saved[0])
    for name, weight in saved[1].items():
        env.reward_weights[name].copy_(weight)
    env._finished_successes.zero_()


def test_all_weights_of_the_reward_are_offered_as_configured(env):
    for name, weight in env.reward_weights.items():
        assert torch.equal(weight, torch.full((NUM_ENVS,), getattr(env.cfg, name)))
    assert len(env.reward_weights) == 8


def test_a_weight_changes_the_reward_of_its_environments_alone(env):
    for name, weight in env.reward_weights.items():
        weight.fill_(1e9 if name == "lift_threshold" else 0.0)
    env.reward_weights["arm_velocity_reward_scale"][BLOCK[1]] = -2.0
    env.reward_weights["hand_velocity_reward_scale"][BLOCK[2]] = -3.0
    for _ in range(3):
        _, reward, terminated, truncated, _ = env.step(2.0 * torch.rand(NUM_ENVS, 23) - 1.0)
        assert not (terminated | truncated).any()
        speed = env.joint_vel.abs()
        assert (speed.sum(-1) > 0.1).all()
        assert (reward[BLOCK[0]] == 0.0).all()
        torch.testing.assert_close(reward[BLOCK[1]], -2.0 * speed[BLOCK[1], :7].sum(-1))
        torch.testing.assert_close(reward[BLOCK[2]], -3.0 * speed[BLOCK[2], 7:].sum(-1))


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("fingertip_reward_scale", "_tip_improvement"),
        ("lifting_reward_scale", "_height"),
        ("lift_bonus", "_just_lifted"),
        ("keypoint_reward_scale", "_keypoint_improvement"),
        ("goal_bonus", "_near"),
    ],
)
def test_each_weight_is_that_of_its_term(env, name, term):
    for weight_name, weight in env.reward_weights.items():
        weight.fill_(0.15 if weight_name == "lift_threshold" else 0.0)
    env.reward_weights[name][BLOCK[1]] = 1.0
    park_robot(env)
    put_object(env, range(NUM_ENVS), env.goal_pos + torch.tensor([0.0, 0.0, 0.04]))
    env.step(hold_actions(env))
    # what the terms are made of, put there by hand: not lifted, or just so
    flags = torch.ones(NUM_ENVS, dtype=torch.bool)
    env.lifted.copy_(flags if name in ("lift_bonus", "keypoint_reward_scale", "goal_bonus") else ~flags)
    values = {"_tip_improvement": torch.ones(NUM_ENVS, 4), "_height": torch.full((NUM_ENVS,), 0.25)}
    values |= {"_just_lifted": flags, "_near": flags, "_keypoint_improvement": torch.ones(NUM_ENVS)}
    for attribute, value in values.items():
        setattr(env, attribute, value)
    paid = {"_tip_improvement": 4.0, "_height": 0.25, "_near": 1 / 30}.get(term, 1.0)
    reward = env._get_rewards()
    assert reward[BLOCK[1]].tolist() == pytest.approx([paid] * 4)
    assert (reward[BLOCK[0]] == 0.0).all() and (reward[BLOCK[2]] == 0.0).all()


def test_the_height_that_counts_as_lifted_may_differ(env):
    park_robot(env)
    env.reward_weights["lift_threshold"][BLOCK[2]] = 0.25
    # 0.05 + 0.8 - 0.63 = 0.22
    put_object(env, range(NUM_ENVS), [0.0, 0.0, 0.8])
    env._get_dones()
    assert env.lifted.tolist() == [True] * 8 + [False] * 4


def test_each_block_has_a_tolerance_of_its_own(env):
    park_robot(env)
    env._finished_successes[BLOCK[1]] = 4.0
    env.common_step_counter = 5000
    _, _, _, _, extras = env.step(hold_actions(env))
    log = extras["log"]
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.075, 0.0675, 0.075])
    assert [log[f"Tolerance/block_{block}"].item() for block in range(3)] == pytest.approx([0.075, 0.0675, 0.075])
    assert log["Metrics/success_tolerance"].item() == pytest.approx(0.0725)
    # 0.01 x 4 + (0.075 - 0.0675) / 0.065
    objective = extras["true_objective"].view(BLOCKS, -1)
    assert objective[0].tolist() == objective[2].tolist() == [0.0] * 4
    assert objective[1].tolist() == pytest.approx([0.155385] * 4, rel=1e-5)
    assert log["Metrics/true_objective"].item() == pytest.approx(0.155385 / 3, rel=1e-5)
    # 0.107 m lies between 1.5 x 0.0675 = 0.10125 and 1.5 x 0.075 = 0.1125
    env.goal_pos[:] = torch.tensor([0.0, 0.0, 0.9])
    put_object(env, range(NUM_ENVS), [0.107, 0.0, 0.9])
    env._get_dones()
    assert env._near.tolist() == [True] * 4 + [False] * 4 + [True] * 4
    saved = env.state_dict()
    env.curriculum.load_group(2, env.curriculum.group_state(1))
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.075, 0.0675, 0.0675])
    env.load_state_dict(saved)
    assert_same_state(env.state_dict(), saved)
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.075, 0.0675, 0.075])


def test_a_shortened_first_episode_moves_no_curriculum_and_the_next_one_does(env):
    park_robot(env)
    last, late = env.max_episode_length - 2, torch.zeros(NUM_ENVS, dtype=torch.long)
    late[BLOCK[2]] = last  # one step before they run out of time
    env.begin_within(late)
    assert env.step(hold_actions(env))[3].tolist() == [False] * 8 + [True] * 4
    env.begin_within(late)
    env.common_step_counter = 5000
    for counted in (False, True):
        env.successes.fill_(4.0)
        env.episode_length_buf[BLOCK[2]] = last
        env.step(hold_actions(env))
        assert env._finished_successes.tolist() == [0.0] * 8 + [4.0 * counted] * 4
    env.step(hold_actions(env))
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.075, 0.075, 0.0675])
