"""docs/own_robot.md, done: a package of the page's own blocks is checked, trains, is installed, plays and exports."""

import os
import re
import subprocess
import sys

import pytest
from typed_commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "own_robot.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SITE = "installed"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The reader's folder."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def python(project, line, *more):
    """A command of the page, to its end; what it printed."""
    assert f"    python {line}\n" in PAGE
    path = os.pathsep.join(filter(None, (str(project / SITE), os.environ.get("PYTHONPATH"))))
    result = subprocess.run(
        [sys.executable, *line.split(), *more],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


def test_the_page_names_its_files():
    table = PAGE.split("## 1.")[0]
    assert set(re.findall(r"`([\w./]+\.\w+)`", table)) - {"tests/system/test_own_robot.py"} == set(FILES)


@pytest.mark.slow
def test_the_reward_of_the_page(project):
    python(project, "-m pytest tests", "-q", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_from_a_urdf_to_an_exported_policy(project):
    pytest.importorskip("urdf_usd_converter", reason="a part of the extra [dev]")
    assert "finger.usdc" in python(project, "my_finger/make_usd.py")
    checked = python(project, "check_robot.py")
    assert "fixed base: True" in checked and "'upper': 0.07" in checked
    rows = re.findall(r"(\w+): limits (\S+) to (\S+) rad, off by (\S+) rad", checked)
    assert [row[:3] for row in rows] == [
        ("swing", "-0.80", "0.80"), ("proximal", "-1.20", "1.20"), ("distal", "0.00", "2.00")
    ]  # fmt: skip
    assert all(float(row[3]) < 0.05 for row in rows)
    line = "-m sapg_isaaclab train --task my_finger:Finger-Push --num_envs 12 --max_iterations 2"
    trained = python(project, line, "--device", "cpu")
    assert "12 = 6 blocks x 2" in trained and "finished after iteration 2" in trained
    # from here on by its id alone, which the entry point tells
    quiet = ("-q", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
    install = [sys.executable, "-m", "pip", "install", *quiet, "--target", SITE, "."]
    subprocess.run(install, cwd=project, check=True, timeout=300)
    options = ("--device", "cpu", "--num_envs", "2", "--steps", "3", "--no_video")
    played = python(project, "-m sapg_isaaclab play --task Finger-Push --checkpoint best", *options)
    assert "playing leader" in played
    exported = python(project, "-m sapg_isaaclab export --task Finger-Push --checkpoint best")
    assert "17 observations to 3 actions" in exported
