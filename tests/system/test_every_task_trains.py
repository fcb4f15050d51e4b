"""Every task trains, feed-forward and recurrent, and what it leaves behind can be played."""

import json
import math

import pytest
from typed_commands import load_command

from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import find_runs

SMALL = ["--device", "cpu", "--num_envs", "12", "--seed", "1"]
RUNS = {
    "SAPG-Allegro-Reorient": [],
    "SAPG-Shadow-Reorient": [],
    "SAPG-AllegroKuka-Regrasp": ["presets=small"],
    "SAPG-AllegroKuka-Throw": ["presets=small"],
    "SAPG-AllegroKuka-Reorient": ["presets=small_recurrent"],
}


def train(folder, *arguments):
    assert load_command("train").main(["--log_root", str(folder), *SMALL, *map(str, arguments)]) == 0
    (run,) = find_runs(folder)
    return run, [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("task", RUNS)
def test_it_trains_and_the_checkpoint_plays(task, tmp_path, capsys):
    iterations = 30 if "presets=small_recurrent" in RUNS[task] else 20
    run, rows = train(tmp_path, "--task", task, "--max_iterations", iterations, *RUNS[task])
    assert [row["iteration"] for row in rows] == list(range(1, iterations + 1))
    numbers = [value for row in rows for name, value in row.items() if name.startswith(("Loss/", "Policy/", "Block_"))]
    assert numbers and all(math.isfinite(value) for value in numbers)
    assert rows[-1]["Loss/value"] != rows[0]["Loss/value"]
    played = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "2", "--steps", "5", "--no_video"]
    assert load_command("play").main(played) == 0
    assert "playing leader" in capsys.readouterr().out


@pytest.mark.slow
def test_a_recurrent_run_goes_on_where_it_stopped(tmp_path):
    task = "SAPG-AllegroKuka-Reorient"
    run, rows = train(tmp_path, "--task", task, "--max_iterations", 2, *RUNS[task])
    before = checkpoint.load(checkpoint.latest(run))
    run, rows = train(tmp_path, "--task", task, "--max_iterations", 4, "--resume", run.path, *RUNS[task])
    after = checkpoint.load(checkpoint.latest(run))
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert (before["env_steps"], after["env_steps"]) == (2 * 16 * 12, 4 * 16 * 12)
    steps = [state["agent"]["learner"]["optimizer"]["state"][0]["step"].item() for state in (before, after)]
    assert steps[1] == 2 * steps[0] > 0


@pytest.mark.slow
def test_a_population_trains_on_weights_and_tolerances_of_its_own(tmp_path, capsys):
    options = ["agent.interval=64", "agent.start_after=0", "agent.initial_delay=64", "agent.mutation_rate=1.0"]
    task = ["--task", "SAPG-AllegroKuka-Regrasp", "--algorithm", "dexpbt", "presets=small", *options]
    run, rows = train(tmp_path, *task, "--max_iterations", 4)
    assert {f"Tolerance/block_{block}" for block in range(6)} <= set(rows[-1])
    decisions = [json.loads(line) for line in (run.path / "decisions.jsonl").read_text().splitlines()]
    first, later = decisions[:6], decisions[6:]
    assert [decision["action"] for decision in first] == ["initial"] * 6
    assert all("reward.goal_bonus" in decision["changed"] for decision in first)
    assert {decision["frames"] for decision in later} == {64, 128}
    played = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "2", "--steps", "5", "--no_video"]
    assert load_command("play").main([*played, "--block", "4"]) == 0
    assert "playing learner 4" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["double", "distributional"])
def test_pql_trains_on_a_hand(critic, tmp_path, capsys):
    task = ["--task", "SAPG-Allegro-Reorient", "--algorithm", "pql", "presets=small", "agent.warmup_steps=4"]
    run, rows = train(tmp_path, *task, f"agent.critic={critic}", "--max_iterations", 2)
    assert math.isfinite(rows[-1]["Loss/critic"]) and rows[-1]["env_steps"] == 2 * 8 * 12
    played = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "2", "--steps", "5", "--no_video"]
    assert load_command("play").main(played) == 0
    assert "playing policy, deterministic actions" in capsys.readouterr().out
