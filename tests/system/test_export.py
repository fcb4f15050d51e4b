"""The export command, from a checkpoint to a file. No simulator, except where a recording is asked for."""

import json

import numpy as np
import pytest
import torch
from typed_commands import TASK, load_command

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.commands.task_config import plain, resolve_configs
from sapg_isaaclab.deploy import load_policy
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs
from sapg_isaaclab.runs.shipping import policy_only
from toy_env import ToyEnv

TOKENS = ["presets=paper"]
SIZES = (72, 16)  # observations and actions of the task with this preset


def make_run(folder):
    """A run folder of the real task whose two policies were made by hand; and the agent."""
    _, cfg = resolve_configs(TASK, TOKENS)
    cfg.num_blocks, cfg.hidden_sizes = 2, (32, 16)
    env = ToyEnv(4)
    env.observation_space, env.action_space = (type(env.action_space)(-1.0, 1.0, (size,)) for size in SIZES)
    torch.manual_seed(3)
    agent = build_agent(env, cfg)
    agent.init()
    run = RunFolder.create(folder / "logs", "allegro_reorient", {"task": TASK}, {"env": "", "agent": ""})
    state = {
        "iteration": 7, "env_steps": 672, "task": TASK, "algorithm": "sapg", "num_envs": 12, "seed": 42,
        "overrides": TOKENS, "blocks": {"num_blocks": 2, "leader": 0}, "agent": agent.state_dict(),
        "agent_cfg": plain(cfg),
    }  # fmt: skip
    checkpoint.save(run.checkpoints / "agent_7.pt", state)
    return run, agent


def export(*arguments):
    return load_command("export").main(["--device", "cpu", *map(str, arguments)])


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path)


def test_a_checkpoint_becomes_a_file_that_acts_like_it(made, capsys):
    run, agent = made
    assert export("--checkpoint", run.path, "--block", 1) == 0
    output = capsys.readouterr().out
    assert f"{TASK}: follower 1 of {run.checkpoints / 'agent_7.pt'} (iteration 7, 672 env-steps)" in output
    assert "(1000 drawn steps of 4 robots)" in output and "actions per second" in output
    path = run.path / "exported" / "agent_7_block_1.onnx"
    assert f"written: {path} and {path.name}.json" in output
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name, f"{path.name}.json"]
    policy = load_policy(path)
    rows = torch.randn(5, SIZES[0])
    torch.testing.assert_close(policy(rows), agent.player(1)(rows), rtol=0, atol=1e-5)
    metadata = policy.metadata
    assert (metadata["task"], metadata["control_hz"], metadata["policy"]["block"]) == (TASK, 30.0, 1)
    training = {"iteration": 7, "env_steps": 672, "seed": 42, "overrides": TOKENS, "num_envs": 12}
    assert metadata["training"].items() >= training.items()
    assert metadata["training"]["checkpoint"] == f"{run.path.name}/checkpoints/agent_7.pt"
    names = [item["name"] for item in metadata["observations"]["items"]]
    assert names[:2] == ["joint_pos", "joint_vel"] and "joint_force" not in names  # the preset's layout
    # a second one does not take the first one's place
    assert export("--checkpoint", run.path, "--block", 1) == 0
    assert len(list(path.parent.iterdir())) == 4


@pytest.mark.parametrize("file_format", [[], ["--format", "torchscript"]])
def test_a_named_file_is_of_its_ending(made, file_format):
    assert export("--checkpoint", made[0].path, "--output", "policy.pt", *file_format) == 0
    actions = load_policy("policy.pt")(np.zeros((1, SIZES[0])))
    np.testing.assert_allclose(actions, made[1].player(0)(torch.zeros(1, SIZES[0])).numpy(), atol=1e-5)


def test_a_policy_that_comes_with_the_package_is_exported_into_the_working_folder(made, tmp_path, monkeypatch):
    # what is shipped holds the policies and nothing else of a checkpoint
    run, agent = made
    (tmp_path / "pretrained").mkdir()
    saved = checkpoint.load(run.checkpoints / "agent_7.pt")
    saved |= {"wall_time_s": 1.0, "versions": {}}
    runs = [{"command": "train", "commit": "0" * 40, "env_steps": 672, "wall_time_s": 1.0}]
    checkpoint.save(tmp_path / "pretrained" / "allegro_reorient.pt", policy_only(saved, runs))
    monkeypatch.setattr(checkpoint, "PRETRAINED", tmp_path / "pretrained")
    assert export("--task", TASK, "--checkpoint", "pretrained") == 0
    policy = load_policy(tmp_path / "exported" / "allegro_reorient_block_0.onnx")
    rows = torch.randn(5, SIZES[0])
    torch.testing.assert_close(policy(rows), agent.player(0)(rows), rtol=0, atol=1e-5)
    assert policy.metadata["training"]["checkpoint"] == "allegro_reorient.pt"


REFUSED = {
    "none": (["--checkpoint", "none"], "an untrained policy, which is not exported"),
    "no such block": (["--block", "2"], "--block 2 does not exist; use one of 0 (leader), 1 (follower 1)"),
    "other ending": (["--output", "policy.pkl"], "must end in .onnx or .pt"),
    "contradiction": (["--output", "p.onnx", "--format", "torchscript"], "contradict each other; end the name in .pt"),
    "existing file": (["--output", "taken.onnx"], "taken.onnx exists and is not overwritten"),
    "existing metadata": (["--output", "other.onnx"], "other.onnx.json exists and is not overwritten"),
    "no folder": (["--output", "none/p.onnx"], "there is no folder"),
    "agent option": (["agent.num_blocks=3"], "the agent's options come from the checkpoint"),
    "nothing to record": (["--record", "0"], "--record 0 is not allowed"),
    "another observation": (
        ["env.obs_type=full_no_vel"],
        "the task has 50 observations, the policy was trained with 72",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(name, made, tmp_path, capsys):
    (tmp_path / "taken.onnx").touch(), (tmp_path / "other.onnx.json").touch()
    before = sorted(map(str, tmp_path.rglob("*")))
    arguments, message = REFUSED[name]
    first = [] if name == "none" else ["--checkpoint", made[0].path]
    assert export(*first, *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0], lines
    assert sorted(map(str, tmp_path.rglob("*"))) == before


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dexpbt", "pql"])
def test_policy_of_a_foreign_task_is_compared_on_recorded_observations(algorithm, tmp_path, capsys):
    options = {
        "dexpbt": ["agent.interval=20", "agent.start_after=0", "agent.initial_delay=0"],
        "pql": ["agent.batch_size=64", "agent.replay_size=2000", "agent.warmup_steps=4"],
    }
    arguments = ["--task", "slide_task:Test-Slide-Direct", "--algorithm", algorithm, "--device", "cpu", "--seed", "1"]
    arguments += ["--max_iterations", "4", "--log_root", str(tmp_path), *options[algorithm]]
    assert load_command("train").main(arguments) == 0
    (run,) = find_runs(tmp_path)
    assert export("--checkpoint", run.path, "--record", 30, "--num_envs", 3) == 0
    assert "(30 recorded steps of 3 robots)" in capsys.readouterr().out
    (path,) = (run.path / "exported").glob("*.onnx")
    metadata = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert metadata["observations"] == {"size": 3} and metadata["control_hz"] == pytest.approx(30.0)
    assert metadata["policy"]["algorithm"] == algorithm
    assert load_policy(path)(np.zeros((1, 3))).shape == (1, 3)
