"""Every task trains, feed-forward and recurrent, and what it leaves behind can be played."""

import itertools
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
    "SAPG-AllegroKukaTwoArms-Reorient": ["presets=small_recurrent"],
}


def train(folder, *arguments):
    assert load_command("train").main(["--log_root", str(folder), *map(str, arguments), *SMALL]) == 0
    (run,) = find_runs(folder)
    return run, [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("task", RUNS)
def test_it_trains_goes_on_and_the_checkpoint_plays(task, tmp_path, capsys):
    run, _ = train(tmp_path, "--task", task, "--max_iterations", 2, "--checkpoint_interval", 1, *RUNS[task])
    run, rows = train(tmp_path, "--resume", run.path, "--max_iterations", 3)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    numbers = [value for row in rows for name, value in row.items() if name.startswith(("Loss/", "Policy/", "Block_"))]
    assert numbers and all(math.isfinite(value) for value in numbers)
    states = [checkpoint.load(run.checkpoints / f"agent_{iteration}.pt") for iteration in (1, 2, 3)]
    rollouts, blocks = states[0]["agent_cfg"]["rollouts"], states[0]["blocks"]["num_blocks"]
    assert [state["env_steps"] for state in states] == [rollouts * 12 * iteration for iteration in (1, 2, 3)]
    assert states[-1]["env"]["common_step_counter"] == 3 * rollouts
    # every policy's own parameters move, and all that they share
    for before, after in itertools.pairwise(state["agent"]["policies"]["model"] for state in states):
        for name, value in before.items():
            moved = (
                (value != after[name]).view(blocks, -1).any(1) if name == "latents" else (value != after[name]).any()
            )
            assert moved.all(), name
    # an update lets in every row once: what all have seen, and for the leader what one follower has
    counts = [state["agent"]["policies"]["scalers"]["observations.count"].item() for state in states]
    each = rollouts * 12 * (blocks + 1) // blocks
    assert counts == [1 + each, 1 + 2 * each, 1 + 3 * each]
    steps = [state["agent"]["learner"]["optimizer"]["state"][0]["step"].item() for state in states]
    assert 0 < steps[0] < steps[1] < steps[2]
    played = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "2", "--steps", "5", "--no_video"]
    assert load_command("play").main(played) == 0
    assert "playing leader" in capsys.readouterr().out


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
