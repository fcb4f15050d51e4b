"""Every command, whoever reads what it prints: it comes to its end, its files are whole, its exit code is right."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sapg_isaaclab.commands import table

RUNS = """
import sys
from sapg_isaaclab.commands import cli
from sapg_isaaclab.runs.files import write_atomically
import pathlib

def command(argv):
    for number in range(2000):
        print("line", number)
    print("a warning", file=sys.stderr)
    write_atomically(pathlib.Path("result.txt"), "whole")
    return 0

sys.exit(cli.run_command(command, []))
"""


def shell(text, cwd, **options):
    """A line as it is typed; ``$SAPG`` is the package's command, ``$RUN`` one that prints much and writes a file."""
    (cwd / "run.py").write_text(RUNS)
    names = {"SAPG": f"{sys.executable} -m sapg_isaaclab", "RUN": f"{sys.executable} run.py"}
    command = ["bash", "-o", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **names}, capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize(
    "redirection", ["| head -1", "| true", ">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full", "2>&1 | head -1"]
)
def test_a_reader_that_goes_costs_nothing(redirection, tmp_path):
    result = shell(f"$RUN {redirection}", tmp_path)
    assert result.returncode == 0 and result.stderr in ("", "a warning\n")
    assert (tmp_path / "result.txt").read_text() == "whole"
    if redirection == "| head -1":
        assert result.stdout == "line 0\n"


def test_output_that_finds_no_room_is_an_error_after_everything_is_written(tmp_path):
    result = shell("$RUN >/dev/full", tmp_path)
    assert result.returncode == 1
    assert result.stderr == "a warning\nerror: the output could not be written: No space left on device\n"
    assert (tmp_path / "result.txt").read_text() == "whole"


@pytest.mark.parametrize("arguments", ["--help", *(f"{name} --wrong" for name in table.COMMANDS)])
def test_nothing_to_write_to_is_no_traceback(arguments, tmp_path):
    result = shell(f"$SAPG {arguments} >&- 2>&-", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2 if "wrong" in arguments else 0, "", "")


def test_a_result_on_disk_is_complete_though_nobody_reads(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    rows = [{"env_steps": 10 * step, "Leader/return": step} for step in range(1, 6)]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert shell("$SAPG analyze curves --runs A=run --output a.svg >&- 2>&-", tmp_path).returncode == 0
    assert (tmp_path / "a.svg").read_text().rstrip().endswith("</svg>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "run", "run.py"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_one_line_and_with_its_code(number, tmp_path):
    program = "import time; from sapg_isaaclab.commands import cli; import sys\n"
    program += "def command(argv): print('ready', flush=True); time.sleep(60)\n"
    program += "sys.exit(cli.run_command(command, []))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert process.stderr.read() == f"interrupted by {number.name}\n"


def test_what_was_called_apart_ends_with_the_command(tmp_path):
    program = "import os, sys, time; from sapg_isaaclab.commands import apart, cli\n"
    program += "def work(): print(os.getpid(), flush=True); time.sleep(60)\n"
    program += "if __name__ == '__main__': sys.exit(cli.run_command(lambda argv: apart.call(work), []))\n"
    (tmp_path / "work.py").write_text(program)
    process = subprocess.Popen([sys.executable, "work.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process outlived the command")
