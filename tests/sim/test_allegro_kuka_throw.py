"""SAPG-AllegroKuka-Throw on ovphysx: the bucket and its goals."""

import pytest
import torch
from kuka_env import carried_return, hold_actions, make, park_robot, put_object, random_return

NUM_ENVS = 12


@pytest.fixture(scope="module")
def env():
    env = make("Throw", num_envs=NUM_ENVS)
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(env):
    env.reset()
    park_robot(env)


def put_bucket(env, pos):
    """Put all buckets, with their goals, somewhere."""
    env.goal_pos[:] = torch.tensor(pos) + torch.tensor([0.0, 0.0, 0.05])
    pose = torch.tensor([[*pos, 0.0, 0.0, 0.0, 1.0]]).repeat(NUM_ENVS, 1)
    pose[:, :3] += env.scene.env_origins
    env.bucket.write_root_pose_to_sim_index(root_pose=pose, env_ids=torch.arange(NUM_ENVS, dtype=torch.int32))


def bucket_pos(env):
    return env.bucket.data.root_pos_w.torch - env.scene.env_origins


def test_sizes(env):
    assert env.single_observation_space["policy"].shape == (99,)
    assert env.max_episode_length == 300
    assert env.cfg.hold_steps == 5 and env.cfg.force_scale == 0.0


def test_bucket_stands_at_the_goal_after_every_reset(env):
    positions = []
    for _ in range(40):
        env.reset()
        positions.append(bucket_pos(env).clone())
        torch.testing.assert_close(env.goal_pos, positions[-1] + torch.tensor([0.0, 0.0, 0.05]), atol=1e-5, rtol=0)
    x, y, z = torch.cat(positions).unbind(-1)  # 480 samples
    assert (x.abs() >= 0.5 - 1e-5).all() and (x.abs() <= 0.9 + 1e-5).all()
    assert 0.35 < (x > 0).float().mean() < 0.65
    assert y.min() >= -1.0 - 1e-5 and y.max() <= 0.7 + 1e-5 and abs(y.mean() + 0.15) < 0.1
    assert z.min() >= -1e-5 and z.max() <= 1.0 + 1e-5 and abs(z.mean() - 0.5) < 0.06


def test_object_put_into_the_bucket_scores(env):
    put_bucket(env, (0.6, -0.4, 0.4))
    # upright above the opening, then the engine's business
    put_object(env, range(NUM_ENVS), [0.6, -0.402, 0.56])
    scored = torch.zeros(NUM_ENVS, dtype=torch.bool)
    for _ in range(60):
        before = bucket_pos(env).clone()
        env.step(hold_actions(env))
        fresh = (env.successes > 0) & ~scored
        scored |= fresh
        if fresh.any():
            # the bucket has moved and the object is back on the table
            assert ((bucket_pos(env) - before)[fresh].norm(dim=-1) > 0.05).all()
            on_table = (env.object_pos[fresh] - torch.tensor([0.0, 0.0, 0.63])).abs()
            assert (on_table <= torch.tensor([0.1, 0.1, 0.02]) + 1e-4).all()
    assert scored.all()
    assert (env.successes == 1.0).all()


def test_bucket_holds_the_object_and_does_not_move(env, monkeypatch):
    monkeypatch.setattr(env.cfg, "hold_steps", 10**6)
    small = env.object_edges.amax(-1) < 0.11
    assert small.any()
    put_bucket(env, (0.6, -0.4, 0.4))
    before = bucket_pos(env).clone()
    put_object(env, range(NUM_ENVS), [0.6, -0.402, 0.56])
    for _ in range(60):
        env.step(hold_actions(env))
    relative = env.object_pos - before
    assert torch.equal(bucket_pos(env), before)
    assert (relative[small, :2].norm(dim=-1) < 0.1).all()
    assert (relative[small, 2] > 0.005).all() and (relative[small, 2] < 0.1).all()
    assert env._near[small].all()


def test_a_throw_beside_the_bucket_is_a_drop(env):
    put_bucket(env, (0.6, -0.4, 0.4))
    put_object(env, range(NUM_ENVS), [0.6, -0.7, 0.2])
    ended = torch.zeros(NUM_ENVS, dtype=torch.bool)
    for _ in range(20):
        _, _, terminated, _, _ = env.step(hold_actions(env))
        ended |= terminated
    assert ended.all() and (env._finished_successes == 0.0).all()


def test_tolerance_stays(env):
    env._finished_successes.fill_(40.0)
    env.common_step_counter = 100_000
    env.step(hold_actions(env))
    assert env.curriculum.values["tolerance"].item() == pytest.approx(0.075)
    # no curriculum: successes + 1
    assert env.curriculum.true_objective(torch.tensor(23.0)).item() == pytest.approx(24.0)


def test_carrying_the_object_into_the_bucket_pays_more_than_random_actions(env):
    carried = carried_return(env, steps=60)
    env.reset()
    random = random_return(env, steps=60)
    assert (carried > 1000.0).all() and carried.mean() > 10 * random.mean().clamp(min=1.0)
