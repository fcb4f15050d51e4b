import signal
import subprocess

import pytest
import torch
import yaml
from typed_commands import TASK, command, load_command, run_command

from sapg_isaaclab.commands import task_config
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs
from sapg_isaaclab.training import session

pytestmark = pytest.mark.slow


def test_train_leaves_a_complete_run_folder(trained_once):
    folder, output = trained_once
    (run,) = find_runs(folder / "logs" / "sapg")
    assert run.path.parent.name == "allegro_reorient"
    assert [path.name for path in folder.iterdir()] == ["logs"]
    manifest = run.manifest()
    assert manifest["version"] == 1 and manifest["library"] == "sapg" and manifest["task"] == TASK
    assert manifest["algorithm"] == "sapg" and manifest["seed"] == 5 and manifest["overrides"] == ["agent.rollouts=4"]
    assert "--max_iterations 3" in manifest["command"] and manifest["packages"]["isaaclab"].startswith("3.0")
    agent = yaml.safe_load((run.path / "params" / "agent.yaml").read_text())
    assert agent["rollouts"] == 4 and agent["num_blocks"] == 6 and agent["seed"] == 5
    env = yaml.full_load((run.path / "params" / "env.yaml").read_text())
    assert env["scene"]["num_envs"] == 12 and env["seed"] == 5 and env["num_blocks"] == 6
    rows = metrics.read(run)
    assert [row["env_steps"] for row in rows] == [48, 96, 144]
    assert {"Loss/policy", "Policy/kl", "Block_5/entropy", "Metrics/successes", "Perf/env_steps_per_s"} <= set(rows[0])
    assert list(run.path.glob("events.out.tfevents.*"))
    saved = checkpoint.load(checkpoint.latest(run))
    assert saved["iteration"] == 3 and saved["env"]["common_step_counter"] == 12
    assert "12 = 6 blocks x 2" in output and "48 rows = 4 steps x 12, minibatch 24" in output
    assert "iteration 3/3 | 144 env-steps" in output and str(run.path) in output


def test_isaac_lab_finds_the_run_by_its_manifest(trained_once):
    from isaaclab_rl.entrypoints.common import resolve_checkpoint_selector

    root = trained_once[0] / "logs" / "sapg" / "allegro_reorient"
    found = resolve_checkpoint_selector(
        str(root), "latest", library="sapg", task=TASK, checkpoint_pattern=r"agent_\d+\.pt", other_dirs=["checkpoints"]
    )
    assert found == str(checkpoint.resolve("latest", root.parent))


def test_ctrl_c_ends_the_iteration_and_leaves_a_valid_checkpoint(tmp_path):
    arguments = command("train", "--task", TASK, "--num_envs", 12, "--max_iterations", 100000)
    with subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("iteration 1/"):
                process.send_signal(signal.SIGINT)
                break
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    (run,) = find_runs(tmp_path / "logs" / "sapg")
    saved = checkpoint.load(checkpoint.latest(run))
    assert saved["iteration"] == len(metrics.read(run)) >= 1
    assert f"stopped by SIGINT after iteration {saved['iteration']}" in output
    assert output.splitlines()[-1].startswith("go on with: ") and output.rstrip().endswith(f"--resume {run.path}")


def test_ppo_logs_to_wandb_without_a_network(tmp_path):
    arguments = ["--task", TASK, "--algorithm", "ppo", "--num_envs", 5, "--max_iterations", 1, "--logger", "wandb"]
    result = run_command("train", *arguments, cwd=tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    assert result.returncode == 0, result.stderr
    (run,) = find_runs(tmp_path / "logs" / "sapg")
    assert run.manifest()["algorithm"] == "ppo"
    saved = checkpoint.load(checkpoint.latest(run))
    assert saved["blocks"]["num_blocks"] == 1 and saved["wandb_id"]
    assert list((run.path / "wandb").glob(f"offline-run-*-{saved['wandb_id']}"))


def first_data(seed):
    """Observations of the first steps, as scripts/train.py would collect them."""
    env_cfg, _ = task_config.resolve_configs(TASK, ["env.sim.device=cpu", "env.scene.num_envs=6"])
    env = session.make_env(TASK, env_cfg, seed)
    observations = [env.reset()[0].clone()]
    for _ in range(3):
        observations.append(env.step(torch.zeros(6, 16))[0].clone())
    drawn = torch.rand(4)
    env.close()
    return torch.stack(observations), drawn


def test_seeds_decide_the_data():
    (first, first_drawn), (again, again_drawn), (other, other_drawn) = map(first_data, (3, 3, 4))
    assert torch.equal(first, again) and torch.equal(first_drawn, again_drawn)
    assert not torch.equal(first, other) and not torch.equal(first_drawn, other_drawn)


def test_list_envs_shows_tasks_and_presets(capsys):
    assert load_command("list_envs").main([]) == 0
    table = capsys.readouterr().out
    assert TASK in table and "ovphysx" in table and "newton_mjwarp" in table and "paper" in table
    assert load_command("list_envs").main(["--keyword", "nothing"]) == 0
    assert f"no task with 'nothing' in its id; there are {TASK}" in capsys.readouterr().out
