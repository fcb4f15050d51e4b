"""A step of every task family asks the device for nothing but what Isaac Lab itself asks for."""

import gymnasium as gym
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401
from no_stall import no_stall

torch.set_num_threads(1)

NUM_ENVS = 6


@pytest.fixture(scope="module", params=["SAPG-Allegro-Reorient", "SAPG-Shadow-Reorient", "SAPG-AllegroKuka-Regrasp",
                                        "SAPG-AllegroKuka-Throw", "SAPG-AllegroKuka-Reorient",
                                        "SAPG-AllegroKukaTwoArms-Reorient"])  # fmt: skip
def env(request):
    cfg = parse_env_cfg(request.param, device="cpu", num_envs=NUM_ENVS)
    cfg.seed, cfg.num_blocks, cfg.compute_final_obs = 0, 2, False
    env = gym.make(request.param, cfg=cfg).unwrapped
    # what is done on a GPU, where the host does not know
    env.nan_guard.host_knows = False
    if "Kuka" in request.param:
        env.stops.host_knows = env.host_knows = False
    with torch.no_grad():
        env.reset()
        env.step(torch.zeros(NUM_ENVS, cfg.action_space))  # makes constants and what is kept of broken environments
    yield env
    env.close()


def test_a_step_in_which_goals_are_reached_and_one_environment_breaks(env):
    actions = torch.zeros(NUM_ENVS, env.cfg.action_space)
    actions[1] = torch.nan
    env.curriculum.values["tolerance"].fill_(100.0)  # every goal is reached
    env.begin_within(torch.arange(NUM_ENVS))
    allowed = {
        ("aten::nonzero", "step"): 1,  # Isaac Lab looks for the environments to reset
        # on a CPU only: commands that did not change are not written
        ("aten::equal", "writing"): 2 * len(env.scene.articulations),
    }
    with torch.no_grad(), no_stall("cpu", allowed):
        *_, extras = env.step(actions)
    assert extras["broken"].tolist() == [False, True, False, False, False, False]
    assert env.episode_length_buf[1] == 0
