"""One short training run of the real task, made by the command a user types and shared by the tests."""

import shutil

import pytest
from typed_commands import TASK, run_command


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """Working folder in which three iterations were trained, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["--task", TASK, "--num_envs", 12, "--max_iterations", 3, "agent.rollouts=4", "--seed", 5]
    result = run_command("train", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of that folder, to be changed at will."""
    shutil.copytree(trained_once[0], tmp_path / "copy")
    return tmp_path / "copy"
