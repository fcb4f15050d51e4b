"""Tasks of the user's: of a module that is not installed, which a run remembers, and of an installed package."""

import shutil
from pathlib import Path

import gymnasium as gym
import pytest
from typed_commands import TASK, run_command

from sapg_isaaclab.commands import task_config
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs

MODULE = '''
import gymnasium as gym

from sapg_isaaclab.tasks.in_hand.env import InHandReorientEnv
from sapg_isaaclab.tasks.in_hand.env_cfg import AllegroReorientEnvCfg
from isaaclab.utils import configclass


@configclass
class MyEnvCfg(AllegroReorientEnvCfg):
    """Ours, with a change."""


class MyEnv(InHandReorientEnv):
    """Ours."""


gym.register(
    "My-Task",
    entry_point="mytasks:MyEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": "mytasks:MyEnvCfg",
        # our options
        "agent_options_entry_point": "sapg_isaaclab.tasks.in_hand.agents.allegro:ALLEGRO_REORIENT",
    },
)
'''


@pytest.mark.slow
def test_a_subclass_of_ours_from_the_working_folder(tmp_path):
    (tmp_path / "mytasks.py").write_text(MODULE)
    small = ("--num_envs", 6, "agent.rollouts=4", "agent.experiment.directory=allegro_reorient")
    result = run_command("train", "--task", "mytasks:My-Task", *small, "--max_iterations", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = find_runs(tmp_path / "logs" / "sapg", task="My-Task")
    assert run.path.parent.name == "allegro_reorient"
    assert checkpoint.load(checkpoint.latest(run))["agent_cfg"]["hidden_sizes"] == [512, 256, 128]
    assert run.manifest()["task_module"] == {"name": "mytasks", "folder": str(tmp_path)}
    # the task is known from the run, and to be found from another folder, too
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = run_command("train", "--resume", run.path, "--max_iterations", 2, cwd=elsewhere)
    assert "finished after iteration 2" in result.stdout, result.stderr
    options = ("--episodes", 1, "--num_envs", 1, "env.episode_length_s=0.2")
    result = run_command("evaluate", *options, cwd=tmp_path)
    assert "My-Task:" in result.stdout, result.stderr
    # our own task's latest is not somebody else's run, even in the same folder
    result = run_command("play", "--task", TASK, cwd=tmp_path)
    assert result.returncode == 2 and f"no run of {TASK} with a checkpoint" in result.stderr
    shutil.move(tmp_path / "mytasks.py", tmp_path / "gone.py")
    result = run_command("play", cwd=tmp_path)
    assert result.returncode == 2 and "'mytasks', which was in" in result.stderr and "PYTHONPATH" in result.stderr


def installed(folder, name, source):
    """A package as an installer leaves it, with an entry point for its tasks."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[isaaclab.tasks]\n{name} = {name}\n")
    (folder / f"{name}.py").write_text(source)


def test_a_task_of_an_installed_package_is_known_by_its_id_alone(tmp_path, monkeypatch, capsys):
    installed(tmp_path, "broken_tasks", "import no_such_module\n")
    registration = 'gym.register("Their-Task", entry_point="their:Env", kwargs={"env_cfg_entry_point": "their:Cfg"})'
    installed(tmp_path, "their_tasks", f"import gymnasium as gym\n\n{registration}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert task_config.check_task("Their-Task") == "Their-Task"
    finally:
        gym.registry.pop("Their-Task", None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the tasks of package 'broken_tasks' cannot be imported (No module named")


@pytest.fixture
def two_tasks(tmp_path):
    """A folder with a run of each of two tasks, in one experiment's folder."""
    for task in ("A", "B"):
        run = RunFolder.create(tmp_path, "shared", {"task": task}, {})
        (run.checkpoints / "agent_1.pt").touch()
        checkpoint.point(run, "latest", run.checkpoints / "agent_1.pt")
    return tmp_path


def test_latest_is_of_the_task_that_was_asked_for(two_tasks):
    newest, older = find_runs(two_tasks)
    assert [run.manifest()["task"] for run in (newest, older)] == ["B", "A"]
    assert checkpoint.resolve("latest", two_tasks, task="A") == older.checkpoints / "agent_1.pt"
    assert checkpoint.resolve("best", two_tasks, task="B") == newest.checkpoints / "agent_1.pt"


@pytest.mark.parametrize("package", [False, True])
def test_what_is_kept_of_a_module_finds_it_again(package, tmp_path, monkeypatch):
    name = f"users_{'package' if package else 'file'}"
    (tmp_path / name).mkdir()
    file = tmp_path / name / "__init__.py" if package else tmp_path / f"{name}.py"
    file.write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__(name)
    assert task_config.task_module(f"{name}:X") == {"name": name, "folder": str(Path(tmp_path).resolve())}
    assert task_config.task_module("sapg_isaaclab:X") is None and task_config.task_module("X") is None
