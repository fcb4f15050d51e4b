"""Policies that see what a robot can know, critics that see all: on real physics, against the official tasks."""

import contextlib

import gymnasium as gym
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.deploy.interface import ObservationMap

torch.set_num_threads(1)

TASKS = ["SAPG-Allegro-Reorient", "SAPG-Shadow-Reorient", "SAPG-AllegroKuka-Reorient"]
N, STEPS = 8, 24
UNMEASURED = ("vel", "force", "wrench", "closest", "lifted", "reward", "progress", "successes", "fingertip_state")


def make(task, *overrides):
    cfg = parse_env_cfg(task, device="cpu", num_envs=N, overrides=[*overrides])
    cfg.seed, cfg.episode_length_s = 0, 12.5 * cfg.sim.dt * cfg.decimation  # time runs out once
    if hasattr(cfg, "max_shapes"):
        cfg.max_shapes = 2
    return gym.make(task, cfg=cfg).unwrapped


def roll(env, after=lambda _: None):
    """Every observation of a run with given actions; step, environment and last state of episodes out of time."""
    generator = torch.Generator().manual_seed(3)
    observations, finals = [dict(env.reset()[0])], []  # copies: closing empties the last one
    after(env)
    for step in range(1, STEPS + 1):
        actions = 2.0 * torch.rand(N, env.cfg.action_space, generator=generator) - 1.0
        seen, _, _, truncated, extras = env.step(actions)
        after(env)
        observations.append(dict(seen))
        finals += [(step, n, {key: rows[n] for key, rows in extras["final_obs"].items()}) for n in truncated.nonzero()]
    return observations, finals


def items(layout, observation):
    return dict(zip(layout, observation.split(list(layout.values()), dim=-1), strict=True))


@pytest.fixture(scope="module", params=TASKS)
def official(request):
    with contextlib.closing(make(request.param)) as env:
        observations, finals = roll(env)
        layout = env.observation_layout(env.cfg)
        assert env.state_space is None and set(observations[0]) == {"policy"}
        assert len(finals) >= N / 2
    return request.param, layout, observations, finals


def test_the_critic_sees_the_official_observation_and_the_policy_what_a_robot_knows(official):
    task, layout, observations, finals = official
    commands = []
    with contextlib.closing(make(task, "env.asymmetric=true")) as env:
        ours, last = roll(env, lambda env: commands.append((env.targets.clone(), env.actions.clone())))
        own = env.observation_layout(env.cfg)
        sizes = sum(own.values()), sum(layout.values())
        assert (env.observation_space.shape[1], env.state_space.shape[1]) == sizes
        described = {item["name"]: item for item in env.interface(env.cfg)["observations"]["items"]}
    assert not any(word in name for name in own for word in UNMEASURED)
    assert [final[:2] for final in last] == [final[:2] for final in finals]
    pairs = [*zip(ours, observations, strict=True), *((a[2], b[2]) for a, b in zip(last, finals, strict=True))]
    for a, b in pairs:
        assert a["critic"].equal(b["policy"])  # bit by bit: nothing of the task has changed
        seen, all_of_it = items(own, a["policy"]), items(layout, b["policy"])
        for name in set(own) & set(layout):
            torch.testing.assert_close(seen[name], all_of_it[name], atol=1e-6, rtol=0)
    # what the task describes to a robot puts the same together from targets and actions
    assert list(described) == list(own)
    for name, column in (("joint_targets", 0), ("actions", 1)):
        told = ObservationMap({"items": [{**described[name], "start": 0, "stop": own[name]}]})
        for a, values in zip(ours, commands, strict=True):
            scaled = torch.from_numpy(told({name: values[column].numpy()}))
            torch.testing.assert_close(items(own, a["policy"])[name], scaled, atol=1e-5, rtol=0)


def test_a_late_estimate_is_the_pose_of_some_steps_ago_and_the_critic_is_not_late(official):
    task, layout, *_ = official
    ages = []
    with contextlib.closing(make(task, "env.asymmetric=true", "env.pose_estimate.max_delay=3")) as env:
        eyes = env.pose_estimate
        # how old the shown pose is: never older than the episode
        ours, last = roll(env, lambda env: ages.append(torch.minimum(eyes._delay, env.episode_length_buf)))
        own = env.observation_layout(env.cfg)
    true = [items(layout, a["critic"])["object_quat"] for a in ours]
    seen = [items(own, a["policy"])["object_quat"] for a in ours]
    for t, age in enumerate(ages):
        for n in range(N):
            assert seen[t][n].equal(true[t - age[n]][n]), (t, n)
    assert torch.stack(ages).gt(0).float().mean() > 0.4
    for step, n, final in last:  # the last state of an episode is seen as late as any other
        age = ages[step - 1][n].item()
        truth = true[step - age][n] if age else items(layout, final["critic"])["object_quat"]
        assert items(own, final["policy"])["object_quat"].equal(truth)


def test_errors_that_nobody_sees_are_refused():
    with pytest.raises(ValueError, match="env.asymmetric=true; add that"):
        make(TASKS[0], "env.pose_estimate.max_delay=3")
    with pytest.raises(ValueError, match="pose_estimate.drop_probability=1.5 is not allowed"):
        make(TASKS[0], "env.asymmetric=true", "env.pose_estimate.drop_probability=1.5")
    with pytest.raises(ValueError, match=r"policy_items=\['smell'\] is not allowed; use some of joint_pos"):
        make(TASKS[2], "env.asymmetric=true", "env.policy_items=['smell']")
