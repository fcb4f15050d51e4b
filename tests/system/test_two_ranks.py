"""Two ranks of the command that a user types, on a CPU."""

import pytest
from typed_commands import TASK, load_command, run_command

from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs

pytestmark = pytest.mark.slow


def test_two_ranks_train_one_run_and_resume_it(tmp_path, capsys):
    root = tmp_path / "logs" / "sapg"
    arguments = ["--task", TASK, "--num_envs", 6, "--max_iterations", 2, "agent.rollouts=4", "--distributed"]
    result = run_command("train", *arguments, cwd=tmp_path, ranks=2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("finished after iteration 2") == 1 and "12 environments" in result.stdout
    (run,) = find_runs(root)
    first = checkpoint.load(checkpoint.latest(run))
    assert [row["env_steps"] for row in metrics.read(run)] == [48, 96]
    assert first["env_steps"] == 96 and first["num_envs"] == 6 and len(first["other_ranks"]) == 1
    assert not (first["rng"]["torch"] == first["other_ranks"][0]["rng"]["torch"]).all()

    # one process cannot go on with it
    alone = ["--resume", "latest", "--max_iterations", "3", "--device", "cpu", "--log_root", str(root)]
    assert load_command("train").main(alone) == 2
    assert "the run to resume has 2 rank(s), this start has 1; start with torchrun" in capsys.readouterr().err

    result = run_command("train", "--resume", "latest", "--max_iterations", 3, "--distributed", cwd=tmp_path, ranks=2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("resuming after iteration 2 (96 env-steps)") == 1
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3]
    second = checkpoint.load(checkpoint.latest(run))
    assert second["env"]["common_step_counter"] == second["other_ranks"][0]["env"]["common_step_counter"] == 12
