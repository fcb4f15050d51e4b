import pytest
import torch
from typed_commands import TASK, load_command, run_command

from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs

pytestmark = pytest.mark.slow


def test_resume_goes_on_in_the_same_folder_with_the_same_counters(trained):
    root = trained / "logs" / "sapg"
    (run,) = find_runs(root)
    before = checkpoint.load(checkpoint.latest(run))
    # the task and its options come from the run; the total is what is new
    result = run_command("train", "--resume", "latest", "--max_iterations", 5, cwd=trained)
    assert result.returncode == 0, result.stderr
    assert "resuming after iteration 3 (144 env-steps)" in result.stdout
    assert [other.path for other in find_runs(root)] == [run.path]
    saved = checkpoint.load(checkpoint.latest(run))
    assert saved["iteration"] == 5 and saved["env_steps"] == 240
    assert saved["env"]["common_step_counter"] == 20
    assert saved["wall_time_s"] > before["wall_time_s"]
    assert saved["agent_cfg"] == before["agent_cfg"] and saved["params"] == before["params"]
    steps = [state["step"] for state in saved["agent"]["learner"]["optimizer"]["state"].values()]
    assert all(step > 3 for step in steps)
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3, 4, 5]
    assert sorted(checkpoint.numbered(run)) == [3, 5]


def test_resume_past_the_end_says_so_and_changes_nothing(trained, capsys):
    root = trained / "logs" / "sapg"
    (run,) = find_runs(root)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    arguments = ["--device", "cpu", "--log_root", str(root), "--task", TASK, "--resume", "latest"]
    assert load_command("train").main([*arguments, "--max_iterations", "3"]) == 0
    assert "nothing to do: the run has 3 iterations" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_init_from_starts_a_new_run_with_fresh_counters(trained, capsys):
    root = trained / "logs" / "sapg"
    (old,) = find_runs(root)
    arguments = ["--task", TASK, "--init_from", "best", "--num_envs", "6", "--max_iterations", "1", "--device", "cpu"]
    frozen = ["agent.learning_rate=1e-9", "agent.learning_rate_schedule=fixed", "agent.learning_rate_bounds=[1e-12,1]"]
    assert load_command("train").main([*arguments, "--log_root", str(root), *frozen]) == 0
    new, same = find_runs(root)
    assert same.path == old.path and new.manifest()["init_from"] == str(checkpoint.latest(old))
    saved, source = checkpoint.load(checkpoint.latest(new)), checkpoint.load(checkpoint.latest(old))
    assert saved["iteration"] == 1 and saved["env_steps"] == 48 and saved["num_envs"] == 6
    # a step of 1e-9 leaves the weights where they came from
    for name, value in source["agent"]["policies"]["model"].items():
        torch.testing.assert_close(saved["agent"]["policies"]["model"][name], value, rtol=0, atol=1e-6)
    assert "finished after iteration 1" in capsys.readouterr().out
