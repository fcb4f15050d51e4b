"""The tasks as another project meets them: installed, from a folder of its own, through Isaac Lab's commands."""

import json
import subprocess
import sys

import pytest

TASK_ID = "SAPG-Allegro-Reorient"


def python(folder, *arguments):
    """Run Python in `folder` as a user would, and return what it printed."""
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-4000:]
    return process.stdout


def isaaclab(folder, *arguments):
    return python(folder, "-P", "-m", "isaaclab", *arguments)


@pytest.mark.slow
def test_one_line_makes_the_environment(tmp_path):
    program = f"""
import sys
import gymnasium as gym
import sapg_isaaclab

heavy = {{"torch", "isaaclab", "skrl", "warp", "pxr"}} & set(sys.modules)
assert not heavy, heavy

env = gym.make("sapg_isaaclab:{TASK_ID}", num_envs=6, device="cpu")
import torch

observations, _ = env.reset()
for _ in range(3):
    observations, reward, *_ = env.step(torch.zeros(6, 16))
print("result", tuple(observations["policy"].shape), tuple(reward.shape), bool(reward.isfinite().all()))
env.close()
"""
    assert "result (6, 88) (6,) True" in python(tmp_path, "-c", program)


@pytest.mark.slow
def test_list_envs_shows_the_task(tmp_path):
    listing = isaaclab(tmp_path, "list_envs", "--keyword", "SAPG")
    (row,) = [line for line in listing.splitlines() if TASK_ID in line]
    assert "sapg_isaaclab.tasks.in_hand.env:InHandReorientEnv" in row
    assert "skrl" in row


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["zero_agent", "random_agent"])
def test_simple_agents_step_the_task(tmp_path, agent):
    options = ("--num_envs", "4", "--max_steps", "5", "--device", "cpu", "--viz", "none")
    assert "agent is running" in isaaclab(tmp_path, agent, "--task", TASK_ID, *options)


@pytest.mark.slow
def test_isaac_labs_own_training_runs_plain_ppo(tmp_path):
    options = ("--num_envs", "16", "--max_iterations", "2", "--device", "cpu")
    isaaclab(tmp_path, "train", "--rl_library", "skrl", "--task", TASK_ID, *options)
    (run,) = (tmp_path / "logs" / "skrl").glob("*/*_ppo_torch")
    assert json.loads((run / "run.json").read_text())["task"] == TASK_ID
    assert list((run / "checkpoints").glob("agent_*.pt"))
