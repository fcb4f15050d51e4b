"""The built package, from an empty folder where there is no checkout: what somebody has who only installed it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from typed_commands import REPOSITORY, TASK

from sapg_isaaclab.runs.run_folder import find_runs

pytestmark = pytest.mark.slow


def call(cwd, *arguments, **environment):
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder in which the wheel is unpacked, for PYTHONPATH: beside the environment, before any checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "checkout"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    shutil.copytree(
        REPOSITORY / "source", source / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    quiet = ("--disable-pip-version-check", "--no-input", "--no-deps")
    # ovphysx holds packaging at a release that cannot read licence expressions; setuptools carries a newer one
    newer = Path(setuptools.__file__).parent / "_vendor"
    wheel = ("-m", "pip", "wheel", *quiet, "--no-build-isolation", "--no-index", "-w", folder, ".")
    call(source, *wheel, PYTHONPATH=str(newer))
    (wheel,) = folder.glob("*.whl")
    call(folder, "-m", "pip", "install", *quiet, "--no-index", "--target", folder / "site", wheel)
    shutil.rmtree(source)
    return folder / "site"


@pytest.fixture
def command(installed, tmp_path):
    def run(*arguments):
        return call(tmp_path, "-m", "sapg_isaaclab", *arguments, PYTHONPATH=str(installed))

    return run


def test_every_file_of_the_package_is_in_the_wheel(installed):
    package = REPOSITORY / "source" / "sapg_isaaclab"
    wanted = {path.relative_to(package) for path in package.rglob("*.*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.suffix for path in wanted} >= {".py", ".usda", ".yaml"}
    assert all((installed / "sapg_isaaclab" / path).is_file() for path in wanted)
    assert (installed / "bin" / "sapg_isaaclab").is_file()


def test_the_wheel_lists_trains_and_plays_in_an_empty_folder(command, installed, tmp_path):
    where = call(tmp_path, "-c", "import sapg_isaaclab; print(sapg_isaaclab.__file__)", PYTHONPATH=str(installed))
    assert where.startswith(str(installed))
    assert TASK in command("list_envs")
    options = ("--task", TASK, "--num_envs", 12, "--device", "cpu", "agent.rollouts=4")
    assert "finished after iteration 3" in command("train", *options, "--max_iterations", 3)
    (run,) = find_runs(tmp_path / "logs" / "sapg")
    assert str(installed / "sapg_isaaclab" / "__main__.py") in run.manifest()["command"]
    played = command("play", "--device", "cpu", "--no_video", "--steps", 3, "--num_envs", 2)
    assert "playing leader" in played and "no episode ended within 3 steps" in played
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
