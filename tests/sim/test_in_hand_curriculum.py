"""The curriculum of the in-hand tasks on ovphysx: goals near the object first, all rotations at its end."""

import math

import pytest
import torch
from sim_env import hold_actions, make, place_object

from same_state import assert_same_state
from sapg_isaaclab.tasks.in_hand import rewards
from sapg_isaaclab.tasks.in_hand.env_cfg import AllegroReorientEnvCfg, GoalCurriculumCfg

NUM_ENVS, BLOCKS = 24, 2
FIRST, SECOND = slice(0, 12), slice(12, 24)
IN_THE_AIR = [0.0, -0.2, 0.70]  # touches nothing for a step, and is near enough to the goal


@pytest.fixture(scope="module")
def env():
    cfg = AllegroReorientEnvCfg()
    cfg.scene.num_envs, cfg.sim.device, cfg.seed, cfg.num_blocks = NUM_ENVS, "cpu", 0, BLOCKS
    cfg.curriculum = GoalCurriculumCfg(enabled=True, gate="block", interval=100)
    env = make(cfg=cfg, device=None)
    start = env.state_dict()
    yield env, start
    env.close()


@pytest.fixture
def fresh(env):
    env, start = env
    env.load_state_dict(start)
    env._finished_successes.zero_()
    env.reset()
    return env


def angles(env):
    return rewards.rotation_error(env.object_quat, env.goal_quat)


def test_goals_at_a_reset_are_near_the_object(fresh):
    for _ in range(5):
        fresh.reset()
        assert (angles(fresh) > 0.2499).all() and (angles(fresh) < 0.8001).all()


def test_goals_after_a_success_are_near_the_object_as_it_then_lies(fresh):
    place_object(fresh, range(NUM_ENVS), pos=IN_THE_AIR, quat=[0.0, 0.6, 0.0, 0.8])
    fresh.goal_quat[:] = torch.tensor([0.0, 0.6, 0.0, 0.8])
    before = fresh.goal_quat.clone()
    _, _, _, _, extras = fresh.step(hold_actions(fresh))
    assert fresh._reached.all() and (fresh.successes == 1.0).all()
    assert (fresh.goal_quat != before).any(-1).all()
    assert (angles(fresh) > 0.2499).all() and (angles(fresh) < 0.8001).all()
    assert extras["log"]["Metrics/goal_angle"].item() == pytest.approx(0.8)
    assert extras["log"]["Metrics/success_tolerance"].item() == pytest.approx(0.2)


def test_the_tolerance_in_force_decides_what_is_reached(fresh):
    for angle, reached in ((0.19, True), (0.21, False)):
        place_object(fresh, range(NUM_ENVS), pos=IN_THE_AIR, quat=[0.0, 0.0, 0.0, 1.0])
        fresh.goal_quat[:] = torch.tensor([math.sin(angle / 2), 0.0, 0.0, math.cos(angle / 2)])
        fresh._get_dones()
        assert (fresh._reached == reached).all()


def test_a_block_moves_by_its_own_successes_and_is_saved(fresh):
    fresh._finished_successes[SECOND] = 1.0
    fresh.common_step_counter = 100
    _, _, _, _, extras = fresh.step(hold_actions(fresh))
    log = extras["log"]
    assert [log[f"Goal_angle/block_{block}"].item() for block in range(2)] == pytest.approx([0.8, 0.88])
    assert [log[f"Tolerance/block_{block}"].item() for block in range(2)] == pytest.approx([0.2, 0.19])
    assert log["Metrics/goal_angle"].item() == pytest.approx(0.84)
    # 0.01 x 1 success + the mean of 0.08 / (pi - 0.8) and 0.01 / 0.1
    objective = extras["true_objective"]
    assert objective[FIRST].tolist() == [0.0] * 12
    assert objective[SECOND].tolist() == pytest.approx([0.01 + 0.5 * (0.08 / (math.pi - 0.8) + 0.1)] * 12, rel=1e-4)
    saved = fresh.state_dict()
    fresh.curriculum.load_group(0, fresh.curriculum.group_state(1))
    assert fresh.curriculum.state_dict() != saved["curriculum"]
    fresh.load_state_dict(saved)
    assert_same_state(fresh.state_dict(), saved)


def test_a_shortened_first_episode_moves_no_curriculum_and_the_next_one_does(fresh):
    last, late = fresh.max_episode_length - 2, torch.zeros(NUM_ENVS, dtype=torch.long)
    late[SECOND] = last  # one step before they run out of time
    fresh.begin_within(late)
    fresh.common_step_counter = 100
    for counted in (False, True):
        fresh.successes.fill_(2.0)
        fresh.episode_length_buf[SECOND] = last
        _, _, _, truncated, _ = fresh.step(hold_actions(fresh))
        assert truncated.tolist() == [False] * 12 + [True] * 12
        assert (fresh._finished_successes >= 2.0).tolist() == [False] * 12 + [counted] * 12
        assert counted or not fresh._finished_successes.any()
    fresh.step(hold_actions(fresh))
    assert fresh.curriculum.values["goal_angle"].tolist() == pytest.approx([0.8, 0.88])


def test_at_its_end_goals_are_those_of_the_official_task(fresh):
    for name, value in (("goal_angle", math.pi), ("tolerance", 0.1)):
        fresh.curriculum.values[name][1] = value
    drawn = []
    for _ in range(40):
        fresh.reset()
        drawn.append(angles(fresh))
    drawn = torch.stack(drawn)
    assert (drawn[:, FIRST] < 0.8001).all()
    # two independent draws of the official distribution are 2.15 rad apart on average (0.63 deviation, 480 draws)
    assert drawn[:, SECOND].mean().item() == pytest.approx(2.15, abs=0.15)
    _, _, _, _, extras = fresh.step(hold_actions(fresh))
    assert extras["log"]["Metrics/goal_angle"].item() == pytest.approx((0.8 + math.pi) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_angle": 0.2}, "use one above curriculum.initial_tolerance 0.2"),
        ({"initial_angle": 4.0}, "pi at most"),
        ({"gate": "best"}, "use 'all', 'leader' or 'block'"),
    ],
)
def test_a_curriculum_that_leads_nowhere_is_refused(changes, message):
    cfg = AllegroReorientEnvCfg()
    cfg.sim.device = "cpu"
    cfg.curriculum = GoalCurriculumCfg(**({"enabled": True} | changes))
    with pytest.raises(ValueError, match=message):
        make(cfg=cfg, device=None)
