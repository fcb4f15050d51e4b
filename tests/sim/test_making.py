"""Making the environment: one line, choices, wrong choices, again and again in one process."""

import gymnasium as gym
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg
from sim_env import TASK_ID, make
from skrl.envs.wrappers.torch import wrap_env
from skrl.envs.wrappers.torch.isaaclab_envs import IsaacLabWrapper

from sapg_isaaclab.tasks.in_hand.env import InHandReorientEnv
from sapg_isaaclab.tasks.in_hand.env_cfg import AllegroReorientEnvCfg
from sapg_isaaclab.tasks.make import check_num_blocks


def rollout(env, steps=30, seed=5):
    generator = torch.Generator().manual_seed(seed)
    observations = []
    for _ in range(steps):
        actions = 2.0 * torch.rand(env.num_envs, 16, generator=generator) - 1.0
        observations.append(env.step(actions)[0]["policy"].clone())
    return torch.stack(observations)


def test_made_closed_and_made_again_and_seeds_decide():
    runs = []
    for seed in (1, 1, 2):
        env = make(num_envs=8, seed=seed)
        runs.append(rollout(env))
        env.close()
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2], atol=1e-2)


def test_one_line_without_launcher_or_cfg():
    env = gym.make(f"sapg_isaaclab:{TASK_ID}", num_envs=3)
    obs, _ = env.reset(seed=0)
    assert obs["policy"].shape == (3, 88)
    env.step(torch.zeros(3, 16))
    env.close()


def test_an_explicit_cfg_is_used_as_it_is():
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    cfg.obs_type, cfg.joint_force_obs, cfg.seed = "full_state", "measured", 3
    env = make(cfg=cfg, device=None)
    assert env.cfg is cfg
    obs = rollout(env, steps=2)[-1]
    torques = env.hand.data.applied_torque.torch[:, env._joint_ids]
    assert torques.abs().max() > 0.01
    torch.testing.assert_close(obs[:, 32:48], 10.0 * torques)
    env.close()


def test_paper_preset_has_no_joint_forces():
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2, overrides=["presets=paper"])
    assert cfg.obs_type == "full"
    env = make(cfg=cfg, device=None)
    obs = rollout(env, steps=1)[-1]
    assert obs.shape == (2, 72)
    torch.testing.assert_close(obs[:, 32:35], env.object_pos)
    torch.testing.assert_close(obs[:, 48:52], env.goal_quat)
    env.close()


def test_observation_without_velocities():
    cfg = AllegroReorientEnvCfg(obs_type="full_no_vel")  # its physics preset is resolved on the way
    cfg.sim.device, cfg.scene.num_envs = "cpu", 2
    env = make(cfg=cfg, device=None)
    obs = rollout(env, steps=1)[-1]
    assert obs.shape == (2, 50)
    torch.testing.assert_close(obs[:, 16:19], env.object_pos)
    torch.testing.assert_close(obs[:, 26:30], env.goal_quat)
    env.close()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"physics": "bullet"},
            "physics='bullet' is unknown; use one of ovphysx, newton_mjwarp, isaacsim_physx, physx",
        ),
        ({"num_envs": 0}, "num_envs=0 is not allowed; give a whole number of at least 1"),
        ({"num_envs": 2.5}, "num_envs=2.5 is not allowed; give a whole number of at least 1"),
        ({"num_env": 4}, "gym.make does not know num_env; use cfg, num_envs, device, seed or physics"),
        ({"device": "gpu"}, "device='gpu' is unknown; use 'cpu' or 'cuda:0'"),
    ],
)
def test_wrong_choices_are_answered_in_one_line(choices, message):
    with pytest.raises(ValueError) as error:
        gym.make(TASK_ID, **choices)
    assert str(error.value) == message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_answered_in_one_line():
    with pytest.raises(ValueError, match="torch sees no CUDA device here; use device='cpu'"):
        gym.make(TASK_ID, device="cuda:0")


def test_cfg_and_choices_together_are_refused():
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    with pytest.raises(ValueError, match="cfg was given together with num_envs, seed; set these in the cfg instead"):
        gym.make(TASK_ID, cfg=cfg, num_envs=4, seed=1)


def test_neither_cfg_nor_task_is_refused():
    with pytest.raises(ValueError, match="neither a cfg nor a task was given"):
        InHandReorientEnv()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("obs_type", "openai", "obs_type='openai' is unknown; use 'full_state', 'full', 'full_no_vel' or 'measured'"),
        ("joint_force_obs", "on", "joint_force_obs='on' is unknown; use 'zero' or 'measured'"),
        ("num_blocks", 0, "num_blocks=0 is not allowed; give at least 1"),
    ],
)
def test_wrong_configuration_is_answered_in_one_line(field, value, message):
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    setattr(cfg, field, value)
    with pytest.raises(ValueError) as error:
        gym.make(TASK_ID, cfg=cfg)
    assert str(error.value) == message


def test_blocks_must_be_equal():
    check_num_blocks(24, 6)
    with pytest.raises(
        ValueError, match="num_envs=64 does not split into num_blocks=6 equal blocks; use num_envs=60 or 66"
    ):
        check_num_blocks(64, 6)
    with pytest.raises(ValueError, match=r"use num_envs=6$"):
        check_num_blocks(4, 6)


def test_a_failed_attempt_leaves_the_process_usable():
    with pytest.raises(ValueError):
        gym.make(TASK_ID, physics="bullet")
    env = make(num_envs=2)
    env.close()


class UsersEnv(InHandReorientEnv):
    """A task that somebody made out of one of ours."""


@pytest.mark.parametrize("env_class", [None, UsersEnv])
def test_skrl_finds_its_wrapper_by_itself(env_class):
    if env_class is None:
        env = gym.make(TASK_ID, device="cpu", num_envs=2)
    else:
        env = env_class(parse_env_cfg(TASK_ID, device="cpu", num_envs=2))
    wrapped = wrap_env(env, verbose=False)
    assert isinstance(wrapped, IsaacLabWrapper)
    assert wrapped.observation_space.shape == (88,) and wrapped.num_envs == 2
    env.close()
