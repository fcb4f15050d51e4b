"""Asymmetric and randomised training, by the commands a user types: every task trains, and what it leaves is of use."""

import json
import math

import pytest
from typed_commands import load_command

from sapg_isaaclab.deploy import load_policy
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import find_runs

TASKS = [
    "SAPG-Allegro-Reorient",
    "SAPG-Shadow-Reorient",
    "SAPG-AllegroKuka-Regrasp",
    "SAPG-AllegroKuka-Throw",
    "SAPG-AllegroKuka-Reorient",
]
SMALL = ["--device", "cpu", "--num_envs", "12", "--seed", "1"]
OPTIONS = [
    "presets=small,randomized",
    "env.asymmetric=true",
    "env.pose_estimate.max_delay=3",
    "env.pose_estimate.position_noise=0.005",
    "env.pose_estimate.rotation_noise=0.05",
    "env.pose_estimate.drop_probability=0.1",
    "agent.critic_hidden_sizes=[64,32]",
    "agent.critic_learning_rate=1e-3",
    "agent.rollouts=8",
    "agent.sequence_length=8",
]


def train(folder, *arguments):
    return load_command("train").main(["--log_root", str(folder), *SMALL, *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_it_trains_and_goes_on(task, tmp_path):
    assert train(tmp_path, "--task", task, "--max_iterations", 20, *OPTIONS) == 0
    (run,) = find_runs(tmp_path)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, 21))
    numbers = [value for row in rows for name, value in row.items() if name.startswith(("Loss/", "Policy/", "Block_"))]
    assert numbers and all(math.isfinite(value) for value in numbers)
    saved = checkpoint.load(checkpoint.latest(run))["agent"]["policies"]
    assert len(saved["scalers"]["states.mean"]) != len(saved["scalers"]["observations.mean"])
    assert len(saved["model"]["critic.first.bias"]) == 64


@pytest.mark.slow
def test_its_policy_is_resumed_played_evaluated_and_exported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path, "--task", TASKS[0], "--max_iterations", 2, *OPTIONS) == 0
    (run,) = find_runs(tmp_path)
    assert train(tmp_path, "--resume", run.path, "--max_iterations", 3) == 0
    common = ["--checkpoint", str(run.path), "--device", "cpu"]
    assert load_command("play").main([*common, "--num_envs", "2", "--steps", "5", "--no_video"]) == 0
    assert (
        load_command("evaluate").main([*common, "--num_envs", "2", "--episodes", "2", "env.episode_length_s=0.3"]) == 0
    )
    assert load_command("export").main(common) == 0
    assert "playing leader" in capsys.readouterr().out
    (file,) = (run.path / "exported").glob("*.onnx")
    described = load_policy(file).metadata["observations"]["items"]
    names = [
        "joint_pos",
        "joint_targets",
        "object_pos",
        "object_quat",
        "goal_pos",
        "goal_quat",
        "goal_rotation",
        "actions",
    ]
    assert [item["name"] for item in described] == names
    assert described[1]["unit"] == "rad" and described[2]["frame"] == "environment"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--algorithm", "pql", "env.asymmetric=true"],
            "no critic that sees more than its policy; drop the option, or",
        ),
        (["agent.critic_input=states", "agent.separate=true"], "this task gives no state; add env.asymmetric=true"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(options, message, tmp_path, capsys):
    assert train(tmp_path, "--task", TASKS[0], *options) != 0
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said
    assert not list(tmp_path.iterdir())
