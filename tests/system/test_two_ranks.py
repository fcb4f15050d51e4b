"""Two ranks of the command that a user types, on a CPU."""

import os
import pathlib
import subprocess
import sys

import pytest
from typed_commands import TASK

from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs

pytestmark = pytest.mark.slow


def test_two_ranks_train_one_run_and_resume_it(tmp_path):
    cpu, resume = ["--device", "cpu"], ["--resume", "latest", "--max_iterations", "3"]
    words = ["2", "--task", TASK, "--num_envs", "6", "--max_iterations", "2", "agent.rollouts=4", "--distributed", *cpu]
    words += ["--then", "1", *resume, *cpu]
    words += ["--then", "2", *resume, "--distributed", *cpu]
    driver = [sys.executable, str(pathlib.Path(__file__).with_name("forked_ranks.py")), *words]
    codes = subprocess.run(driver, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=300).stdout.splitlines()

    def printed(start, rank, stream="out"):
        return (tmp_path / f"rank.{start}.{rank}.{stream}").read_text()

    assert codes == ["0 0", "2", "0 0"], [printed(start, 0, "err") for start in range(len(codes))]
    both = printed(0, 0) + printed(0, 1)
    assert both.count("finished after iteration 2") == 1 and "12 environments" in both
    # one process cannot go on with it
    assert "the run to resume has 2 rank(s), this start has 1; start with torchrun" in printed(1, 0, "err")
    assert (printed(2, 0) + printed(2, 1)).count("resuming after iteration 2 (96 env-steps)") == 1

    (run,) = find_runs(tmp_path / "logs" / "sapg")
    assert [row["env_steps"] for row in metrics.read(run)] == [48, 96, 144]
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3]
    first, second = (checkpoint.load(run.checkpoints / f"agent_{iteration}.pt") for iteration in (2, 3))
    assert first["env_steps"] == 96 and first["num_envs"] == 6 and len(first["other_ranks"]) == 1
    assert not (first["rng"]["torch"] == first["other_ranks"][0]["rng"]["torch"]).all()
    assert os.path.samefile(checkpoint.latest(run), run.checkpoints / "agent_3.pt")
    assert second["env"]["common_step_counter"] == second["other_ranks"][0]["env"]["common_step_counter"] == 12
