"""isaaclab.sh, run with stand-ins for Python, apt-get and the like: no test here installs anything."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = [
    "bash",
    "cat",
    "cp",
    "dirname",
    "flock",
    "head",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sleep",
    "tail",
    "tee",
]

# Answers what the launcher asks a Python, notes every call in $CALLS, and prints the arguments of everything else.
PYTHON = r"""#!/usr/bin/env bash
printf '%s\n' "${0##*/} $*" >>"$CALLS"
[[ $* != *"-m compileall"* ]] || exit "${COMPILE_FAILS:-0}"
case "$1 ${2:-}" in
"-c import ctypes, ssl"*) [[ @VERSION@ == 3.12 ]] ;;
"-c import ensurepip"*) [[ @VENV@ == yes ]] ;;
"-c import importlib"*) ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip")
    sleep "${PIP_SECONDS:-0}"
    echo "  Downloading torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl (530.6 MB)"
    echo "  Using cached https://host/files/nvidia_cublas-13.1-py3-none-any.whl (1.2 GB)"
    echo "  Downloading rich-15.0.0-py3-none-any.whl (310.1 kB)"
    echo "Installing collected packages: torch, rich"
    [[ -z ${PIP_FAILS:-} ]] || { echo "ERROR: no matching distribution"; exit 1; }
    ;;
"- ") cat >/dev/null; echo "${MISSING:-}" ;;
"-P -") cat >/dev/null; [[ -n "@PROBE@" ]] && echo "@PROBE@" ;;
*) printf '<%s>' "$@"; echo; echo "pid $$ cwd $PWD path ${PYTHONPATH-unset}"; exit "${EXIT:-0}" ;;
esac
"""


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path, version="3.12", venv="yes", probe=""):
    text = PYTHON.replace("@VERSION@", version).replace("@VENV@", venv).replace("@PROBE@", probe)
    return executable(path, text)


class Checkout:
    """A checkout of the project in a folder with a space, on a machine that has only what a test puts in `bin`."""

    def __init__(self, folder):
        self.root = folder / "my checkout"
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.calls = folder / "calls"
        self.root.mkdir()
        self.home.mkdir()
        self.calls.touch()
        shutil.copy(REPOSITORY / "isaaclab.sh", self.root)
        (self.root / "pyproject.toml").write_text('dependencies = ["a"]\n[tool.ruff]\nline-length = 120\n')
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        executable(self.bin / "id", "#!/usr/bin/env bash\necho 1000\n")
        executable(self.bin / "df", "#!/usr/bin/env bash\necho 100000000\n")

    def environment(self, **variables):
        env = {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls)}
        return env | {name: str(value) for name, value in variables.items()}

    def start(self, *arguments, cwd=None, script=None, **variables):
        return subprocess.Popen(
            [self.bin / "bash", script or self.root / "isaaclab.sh", *arguments],
            cwd=cwd or self.root.parent,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # a job in the background of a shell inherits that CTRL-C is ignored, and could not be told to stop
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        process.out, process.err = process.communicate(timeout=30)
        return process

    def count(self, what):
        return sum(what in line for line in self.calls.read_text().splitlines())


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def one_line(process):
    assert process.returncode == 1
    assert process.out == ""
    assert process.err.count("\n") == 1, process.err
    return process.err


# ---- finding Python --------------------------------------------------------------------------------------------------


def test_candidate_that_only_fails_is_skipped(checkout):
    executable(checkout.bin / "python3.12", "#!/usr/bin/env bash\necho 'python3.12: command not found' >&2\nexit 127\n")
    fake_python(checkout.home / ".pyenv/versions/3.12.1/bin/python3.12")
    process = checkout.run("-p", "hello.py")
    assert process.returncode == 0, process.err
    assert "<hello.py>" in process.out
    assert "command not found" not in process.err


def test_other_python_versions_are_refused_in_one_line(checkout):
    fake_python(checkout.bin / "python3", version="3.11")
    message = one_line(checkout.run("-p", "hello.py"))
    assert "no Python 3.12 found" in message and "uv python install 3.12" in message
    assert not (checkout.root / ".venv").exists()


def test_python_without_venv_names_the_debian_package(checkout):
    fake_python(checkout.bin / "python3.12", venv="no")
    assert "apt-get install -y --no-install-recommends python3.12-venv" in one_line(checkout.run("-p", "hello.py"))


def test_python_with_venv_is_preferred(checkout):
    fake_python(checkout.bin / "python3.12", venv="no")
    fake_python(checkout.home / "miniforge3/bin/python3.12")
    assert checkout.run("-p", "hello.py").returncode == 0


# ---- system libraries ------------------------------------------------------------------------------------------------


def test_missing_libraries_are_named_before_anything_is_installed(checkout):
    fake_python(checkout.bin / "python3.12")
    message = one_line(checkout.run("-p", "hello.py", MISSING="libGL.so.1"))
    assert "libGL.so.1" in message and "sudo apt-get install" in message and " libgl1 " in message
    assert checkout.count("-m venv") == checkout.count("-m pip") == 0


def test_missing_libraries_are_installed_for_root(checkout):
    fake_python(checkout.bin / "python3.12")
    executable(checkout.bin / "id", "#!/usr/bin/env bash\necho 0\n")
    executable(checkout.bin / "apt-get", '#!/usr/bin/env bash\necho "apt-get $*" >>"$CALLS"\n')
    process = checkout.run("-p", "hello.py", MISSING="libGL.so.1")
    assert process.returncode == 0, process.err
    assert checkout.count("apt-get install") == 1


def test_old_systems_and_full_disks_are_named(checkout):
    fake_python(checkout.bin / "python3.12")
    assert "glibc 2.35" in one_line(checkout.run("-p", "hello.py", MISSING="glibc 2.35 or newer"))
    executable(checkout.bin / "df", "#!/usr/bin/env bash\necho 5000000\n")
    assert "has 5 GB free" in one_line(checkout.run("-p", "hello.py"))


# ---- installing ------------------------------------------------------------------------------------------------------


def test_second_start_installs_nothing(checkout):
    fake_python(checkout.bin / "python3.12")
    first = checkout.run("-p", "hello.py")
    assert first.returncode == 0 and "once" in first.err
    assert first.err.splitlines()[1:4] == ["  torch (530 MB)", "  nvidia_cublas (1 GB)", "  unpacking"]
    calls = checkout.calls.read_text()
    assert checkout.count("-m pip") == 1
    second = checkout.run("-p", "hello.py")
    assert second.returncode == 0
    assert second.err == ""
    assert checkout.calls.read_text() == calls + "python hello.py\n"


def test_an_installation_is_compiled_once_whatever_does_not_compile(checkout):
    fake_python(checkout.bin / "python3.12")
    result = checkout.run("-p", "hello.py", PYTHONDONTWRITEBYTECODE="1", COMPILE_FAILS="1")
    assert result.returncode == 0 and checkout.count("-m compileall") == 1
    (call,) = [line for line in checkout.calls.read_text().splitlines() if "compileall" in line]
    assert ".venv/lib/python3.12/site-packages" in call and call.endswith("my checkout/source")
    checkout.run("-p", "hello.py")
    assert checkout.count("-m compileall") == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/opt/ros/jazzy/lib/python3.12/site-packages:/home/me/my tasks", "/home/me/my tasks"),
        ("/a:/opt/ros/x/lib/python3/dist-packages/:/b", "/a:/b"),
        ("/opt/ros/jazzy/lib/python3.12/site-packages", "unset"),
        ("", "unset"),
    ],
)
def test_packages_of_other_software_do_not_count_as_ours(checkout, given, kept):
    fake_python(checkout.bin / "python3.12")
    result = checkout.run("-p", "hello.py", PYTHONPATH=given)
    assert result.out.splitlines()[1].endswith(f" path {kept}")
    assert ("leaving" in result.err) == ("packages" in given)


def test_changed_dependencies_are_installed_and_changed_tool_settings_are_not(checkout):
    fake_python(checkout.bin / "python3.12")
    project = checkout.root / "pyproject.toml"
    checkout.run("-p", "hello.py")
    project.write_text(project.read_text().replace("120", "100"))
    checkout.run("-p", "hello.py")
    assert checkout.count("-m pip") == 1
    project.write_text(project.read_text().replace('["a"]', '["a", "b"]'))
    checkout.run("-p", "hello.py")
    assert checkout.count("-m pip") == 2
    assert checkout.count("-m venv") == 1


def test_failed_installation_shows_why_and_is_resumed(checkout):
    fake_python(checkout.bin / "python3.12")
    process = checkout.run("-p", "hello.py", PIP_FAILS=1)
    assert process.returncode == 1
    assert "ERROR: no matching distribution" in process.err and "install.log" in process.err
    assert "<hello.py>" not in process.out
    process = checkout.run("-p", "hello.py")
    assert process.returncode == 0 and "<hello.py>" in process.out
    assert checkout.count("-m pip") == 2
    assert checkout.count("-m venv") == 1


def test_interrupted_installation_is_resumed(checkout):
    fake_python(checkout.bin / "python3.12")
    process = checkout.start("-p", "hello.py", PIP_SECONDS=20)
    while checkout.count("-m pip") == 0:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # what CTRL-C does
    _, error = process.communicate(timeout=5)
    assert process.returncode == 130 and "interrupted" in error

    # pip was cut off inside a package: it must not count as installed
    packages = checkout.root / ".venv/lib/python3.12/site-packages"
    for name in ("whole", "broken"):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
    (packages / "whole-1.0.dist-info/RECORD").touch()
    process = checkout.run("-p", "hello.py")
    assert process.returncode == 0, process.err
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]
    assert checkout.run("-p", "hello.py").err == ""


def test_environment_is_made_again_where_its_python_is_gone_or_it_was_moved(checkout):
    fake_python(checkout.bin / "python3.12")
    checkout.run("-p", "hello.py")
    (checkout.root / ".venv/bin/python").unlink()
    assert checkout.run("-p", "hello.py").returncode == 0
    assert checkout.count("-m venv") == 2
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)
    checkout.root = moved
    assert checkout.run("-p", "hello.py").returncode == 0
    assert checkout.count("-m venv") == 3


def test_an_environment_behind_a_link_is_left_alone(checkout):
    fake_python(checkout.bin / "python3.12")
    other = checkout.root.with_name("other")
    other.mkdir()
    (other / "precious").touch()
    (checkout.root / ".venv").symlink_to(other)
    error = one_line(checkout.run("-p", "hello.py"))
    assert ".venv is a link to" in error and str(other) in error and "remove the link" in error
    assert [path.name for path in other.iterdir()] == ["precious"] and checkout.calls.read_text() == ""


def test_two_starts_at_once_install_once(checkout):
    fake_python(checkout.bin / "python3.12")
    starts = [checkout.start("-p", "hello.py", PIP_SECONDS=0.5) for _ in range(3)]
    for process in starts:
        out, error = process.communicate(timeout=30)
        assert process.returncode == 0, error
        assert "<hello.py>" in out
    assert checkout.count("-m pip") == 1


def test_i_only_makes_the_environment(checkout):
    fake_python(checkout.bin / "python3.12")
    process = checkout.run("-i")
    assert process.returncode == 0 and "ready" in process.err
    assert checkout.count("isaaclab") == 0


# ---- handing over ----------------------------------------------------------------------------------------------------

ARGUMENTS = ["scripts/train.py", "--task", "A B", "", "env.x='[1, 2]'", "*", "$HOME"]


def shown(arguments):
    return "".join(f"<{argument}>" for argument in arguments)


def test_arguments_exit_code_and_working_directory_survive(checkout, tmp_path):
    fake_python(checkout.bin / "python3.12")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "link"
    link.symlink_to(checkout.root / "isaaclab.sh")
    process = checkout.run("-p", *ARGUMENTS, cwd=elsewhere, script=link, EXIT=7)
    assert process.returncode == 7
    assert shown(ARGUMENTS) in process.out
    # the very process that was started: signals reach it
    assert f"pid {process.pid} cwd {elsewhere}" in process.out


def test_other_commands_go_to_the_isaac_lab_cli(checkout):
    fake_python(checkout.bin / "python3.12")
    process = checkout.run("list_envs", "--keyword", "A B", EXIT=3)
    assert process.returncode == 3
    assert shown(["-P", "-m", "isaaclab", "list_envs", "--keyword", "A B"]) in process.out
    assert f"pid {process.pid}" in process.out


def test_isaaclab_path_gets_everything(checkout, tmp_path):
    theirs = executable(tmp_path / "Isaac Lab/isaaclab.sh", "printf '<%s>' \"$@\"; exit 5\n")
    process = checkout.run("-p", *ARGUMENTS, ISAACLAB_PATH=theirs.parent)
    assert process.returncode == 5
    assert process.out == shown(["-p", *ARGUMENTS])
    assert not (checkout.root / ".venv").exists()


def test_wrong_isaaclab_path_is_named(checkout, tmp_path):
    assert "ISAACLAB_PATH is '/nowhere'" in one_line(checkout.run("train", ISAACLAB_PATH="/nowhere"))
    assert "ISAACLAB_PATH names this project" in one_line(checkout.run("train", ISAACLAB_PATH=checkout.root))


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_with_isaac_lab_is_used(checkout, tmp_path, variable):
    fake_python(tmp_path / "env/bin/python", probe=f"0 {checkout.root}/source/sapg_isaaclab/__init__.py")
    process = checkout.run("-p", *ARGUMENTS, **{variable: tmp_path / "env"})
    assert process.returncode == 0
    assert process.err == ""
    assert shown(ARGUMENTS) in process.out
    assert not (checkout.root / ".venv").exists()


def test_linked_isaac_sim_is_left_to_the_isaac_lab_cli(checkout, tmp_path):
    fake_python(tmp_path / "env/bin/python", probe=f"1 {checkout.root}/source/sapg_isaaclab/__init__.py")
    process = checkout.run("-p", "hello.py", VIRTUAL_ENV=tmp_path / "env")
    assert shown(["-P", "-m", "isaaclab", "-p", "hello.py"]) in process.out


def test_active_environment_without_the_project_is_not_changed(checkout, tmp_path):
    fake_python(tmp_path / "env/bin/python", probe="0 ")
    message = one_line(checkout.run("-p", "hello.py", VIRTUAL_ENV=tmp_path / "env"))
    assert f"{tmp_path}/env/bin/python -m pip install -e '{checkout.root}'" in message
    assert checkout.count("-m pip") == 0


def test_active_environment_without_isaac_lab_is_ignored(checkout, tmp_path):
    fake_python(tmp_path / "env/bin/python")
    fake_python(checkout.bin / "python3.12")
    process = checkout.run("-p", "hello.py", VIRTUAL_ENV=tmp_path / "env")
    assert process.returncode == 0
    assert f"{tmp_path}/env has no Isaac Lab" in process.err
    assert (checkout.root / ".venv/bin/python").exists()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_installs_nothing(checkout, arguments):
    process = checkout.run(*arguments)
    assert process.returncode == 0
    assert "scripts/train.py --task SAPG-Allegro-Reorient" in process.out
    assert not (checkout.root / ".venv").exists()


# ---- continuous integration ------------------------------------------------------------------------------------------


def test_ci_runs_the_tests_and_closes_with_their_last_line(checkout):
    shutil.copytree(REPOSITORY / ".ci", checkout.root / ".ci")
    for tool in ("grep", "mktemp"):
        (checkout.bin / tool).symlink_to(shutil.which(tool))
    executable(
        checkout.root / "isaaclab.sh",
        '#!/usr/bin/env bash\necho "$* CI=$CI"\nread -r line || echo no input\n'
        'echo "1 failed, 3 passed in 2.50s"\necho engine closed >&2\nexit 1\n',
    )
    process = checkout.run(script=checkout.root / ".ci/run")
    assert process.returncode == 1
    lines = process.out.splitlines()
    assert lines[:2] == ["-p -m pytest -n 2 CI=true", "no input"]
    assert lines[-1] == "1 failed, 3 passed in 2.50s"
