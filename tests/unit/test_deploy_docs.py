"""The loop of docs/deploy.md drives a hand."""

import pathlib
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND
from sapg_isaaclab.commands.export import task_interface
from sapg_isaaclab.commands.task_config import resolve_configs
from sapg_isaaclab.deploy import load_policy
from sapg_isaaclab.deploy.export import export_policy
from sapg_isaaclab.tasks.in_hand.rewards import relative_rotation
from toy_env import ToyEnv

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "deploy.md"
TASK = "SAPG-Allegro-Reorient"


def code_block(word):
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if word in text)
    return block


class FakeHand:
    """A hand whose joints are where they were told to be, and a cube that turns about z."""

    def __init__(self):
        self.names = [joint.name for joint in ALLEGRO_HAND.joints]
        self.lower, self.upper = (
            np.array([getattr(j, side) for j in ALLEGRO_HAND.joints]) for side in ("lower", "upper")
        )
        self.position = 0.5 * (self.lower + self.upper)
        self.commands, self.times = [], []

    def joint_pos(self, joints):
        assert joints == self.names
        return self.position

    def joint_vel(self, joints):
        return np.full(len(joints), 0.1)

    def cube(self):
        half = 0.05 * len(self.commands)
        quat = np.array([0.0, 0.0, np.sin(half), np.cos(half)])
        return SimpleNamespace(pos=np.array([0.01, -0.2, 0.55]), quat=quat, lin_vel=np.ones(3), ang_vel=np.full(3, 2.0))

    def goal_quat(self):
        return np.array([0.5, 0.5, -0.5, 0.5])

    def command(self, joints, targets):
        assert joints == self.names
        self.position = np.array(targets)
        self.commands.append(self.position)
        self.times.append(time.monotonic())


def export(folder, **options):
    """A policy of the real task's size, with whatever it was initialised with, and its agent."""
    env_cfg, _ = resolve_configs(TASK, [])
    env = ToyEnv(4)
    env.observation_space, env.action_space = (type(env.action_space)(-1.0, 1.0, (size,)) for size in (88, 16))
    torch.manual_seed(1)
    agent = build_agent(env, SapgCfg(num_blocks=2, hidden_sizes=(32,), **options), with_memory=False)
    agent.init()
    export_policy(agent, folder / "policy.onnx", interface=task_interface(TASK, env_cfg))
    return folder / "policy.onnx", agent


def test_the_documented_loop_drives_a_hand(tmp_path):
    file = export(tmp_path, rnn_units=16)
    block = code_block("def drive")
    assert len([line for line in block.splitlines() if line.strip()]) <= 40
    namespace = {}
    exec(compile(block, str(PAGE), "exec"), namespace)
    hand = FakeHand()
    namespace["drive"](hand, file[0], 0.4)
    assert len(hand.commands) == 12  # 30 Hz
    assert hand.times[-1] - hand.times[0] == pytest.approx(11 / 30, abs=0.1)

    # the same by the task's own words, with the agent itself
    twin, player, actions = FakeHand(), file[1].player(0), torch.zeros(16)
    lower, upper = (torch.tensor(side, dtype=torch.float32) for side in (twin.lower, twin.upper))
    for command in hand.commands:
        cube, goal = twin.cube(), torch.tensor(twin.goal_quat(), dtype=torch.float32)
        position = torch.tensor(twin.position, dtype=torch.float32)
        quat = torch.tensor(cube.quat, dtype=torch.float32)
        observation = torch.cat((
            (2.0 * position - upper - lower) / (upper - lower), torch.full((16,), 0.02), torch.zeros(16),
            torch.tensor(cube.pos), quat, torch.ones(3), torch.full((3,), 0.4), torch.tensor([0.0, -0.2, 0.52]), goal,
            relative_rotation(quat[None], goal[None])[0], actions,
        )).float()  # fmt: skip
        actions = player(observation[None])[0].clamp(-1.0, 1.0)
        twin.command(twin.names, (lower + 0.5 * (actions + 1.0) * (upper - lower)).numpy())
        np.testing.assert_allclose(command, twin.position, atol=1e-5)
    assert np.std(hand.commands, axis=0).max() > 1e-3


def test_the_documented_session_needs_no_package_of_ours(tmp_path, monkeypatch):
    export(tmp_path)
    monkeypatch.chdir(tmp_path)
    observations = np.random.default_rng(0).normal(size=(3, 88)).astype(np.float32)
    namespace = {"observations": observations}
    exec(compile(code_block("session.run"), str(PAGE), "exec"), namespace)
    np.testing.assert_array_equal(namespace["actions"], load_policy("policy.onnx")(observations))
    assert '"task": "SAPG-Allegro-Reorient"' in namespace["metadata"]
