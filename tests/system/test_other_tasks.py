"""Every algorithm trains on a task of somebody else, which brings no options for it, and plays what it learned."""

import json
import math
import sys

import pytest
from typed_commands import load_command

from sapg_isaaclab.runs.run_folder import find_runs

OPTIONS = {
    "sapg": [],
    "cpo": ["agent.adversarial_scale=0.01", "agent.adversarial_hidden_sizes=[32]"],
    "ppo": [],
    "dexpbt": ["agent.interval=20", "agent.start_after=0", "agent.initial_delay=0"],
    "pql": ["agent.batch_size=64", "agent.replay_size=2000", "agent.warmup_steps=4"],
}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", OPTIONS)
def test_algorithm_on_a_foreign_task(algorithm, tmp_path, capsys):
    arguments = ["--task", "slide_task:Test-Slide-Direct", "--algorithm", algorithm, "--device", "cpu", "--seed", "1"]
    arguments += ["--max_iterations", "6", "--log_root", str(tmp_path), *OPTIONS[algorithm]]
    assert load_command("train").main(arguments) == 0
    (run,) = find_runs(tmp_path)
    assert run.path.parent.name == "test_slide_direct"
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, 7))
    losses = [value for row in rows for name, value in row.items() if name.startswith("Loss/")]
    assert losses and all(math.isfinite(value) for value in losses)
    assert json.loads((run.path / "run.json").read_text())["algorithm"] == algorithm
    played = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "3", "--episodes", "3"]
    assert load_command("evaluate").main(played) == 0
    assert "deterministic actions, 3 episodes" in capsys.readouterr().out
    resumed = ["--resume", str(run.path), "--device", "cpu", "--max_iterations", "8"]
    assert load_command("train").main(resumed) == 0
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["iteration"] == 8 and rows[-1]["env_steps"] == 8 * rows[0]["env_steps"]
    assert sys.modules["slide_task"]
