"""The batch script, with stand-ins for Slurm's commands and for the training, and the real torchrun between them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typed_commands import REPOSITORY

pytestmark = pytest.mark.slow

COMMANDS = {
    # runs the step as this process: options, then the command
    "srun": 'while [[ $1 == --* ]]; do shift; done; echo $$ >step.pid; exec "$@"',
    # signals every process of the step
    "scancel": '[[ $* == "--signal=USR1 77" ]] && kill -USR1 $(cat step.pid rank.*)',
    "scontrol": 'if [[ $1 == show ]]; then echo localhost; else echo "$@" >>scontrol.log; fi',
}
# leaves a checkpoint when it is told to stop, or at once when it goes on
TRAIN = """
import os, pathlib, sys, time
from sapg_isaaclab.training.signals import StopFlag

rank = os.environ.get("RANK", "0")
root = pathlib.Path(sys.argv[sys.argv.index("--log_root") + 1]) / "toy" / "run" / "checkpoints"
with StopFlag() as stop, open("calls.log", "a") as calls:
    print(rank, os.environ.get("WORLD_SIZE", "alone"), *sys.argv[1:], file=calls, flush=True)
    pathlib.Path(f"rank.{rank}").write_text(f"{os.getpid()} ")
    while "--resume" not in sys.argv and not stop.requested:
        time.sleep(0.05)
    if rank == "0":
        root.mkdir(parents=True, exist_ok=True)
        (root / "agent_1.pt").touch()
"""


@pytest.fixture
def job(tmp_path):
    """Start of the batch script in a checkout of its own, as job 77 with two processes."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text(TRAIN)
    commands = {f"bin/{name}": body for name, body in COMMANDS.items()}
    for name, body in {**commands, "isaaclab.sh": f'shift; exec {sys.executable} "$@"'}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
    }
    script = ["bash", str(REPOSITORY / "scripts" / "cluster" / "train.sbatch")]

    def start(*arguments, **variables):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*script, *arguments], env={**environment, **variables}, **pipes)

    return start


def wait_for_ranks(process, folder, ranks):
    deadline = time.monotonic() + 120
    while not all((folder / f"rank.{rank}").exists() for rank in ranks):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize("variables", [{"SLURM_GPUS_ON_NODE": "1"}, {"RANKS_PER_NODE": "1"}], ids=["gpus", "asked"])
def test_one_process_starts_without_torchrun_stops_and_goes_on(job, tmp_path, variables):
    # an algorithm of somebody else's may refuse --distributed, and so is the task
    options = ["my_tasks:Toy", "--algorithm", "pql", "agent.rollouts=4"]
    first = job(*options, **variables)
    wait_for_ranks(first, tmp_path, [0])
    first.send_signal(signal.SIGUSR1)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert (tmp_path / "scontrol.log").read_text() == "requeue 77\n"
    second = job(*options, **variables)
    assert second.communicate(timeout=60)[1] == errors and second.returncode == 0
    tail = "--log_root logs/sapg/job_77"
    assert (tmp_path / "calls.log").read_text().splitlines() == [
        f"0 alone --task {' '.join(options)} {tail}",
        f"0 alone --resume latest {tail}",
    ]


def test_the_time_limit_stops_all_ranks_and_the_job_is_queued_again_and_goes_on(job, tmp_path):
    options = ["Toy", "--algorithm", "dexpbt", "--num_envs", "6", "agent.rollouts=4"]
    first = job(*options)
    wait_for_ranks(first, tmp_path, [0, 1])
    first.send_signal(signal.SIGUSR1)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert (tmp_path / "scontrol.log").read_text() == "requeue 77\n"
    tail = "--distributed --log_root logs/sapg/job_77"
    expected = [f"{rank} 2 --task {' '.join(options)} {tail}" for rank in (0, 1)]
    assert sorted((tmp_path / "calls.log").read_text().splitlines()) == expected

    # what Slurm does with a job that is queued again: the same script with the same arguments
    second = job(*options)
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    resumed = [f"{rank} 2 --resume latest {tail}" for rank in (0, 1)]
    assert sorted((tmp_path / "calls.log").read_text().splitlines()) == sorted([*expected, *resumed])
    assert (tmp_path / "scontrol.log").read_text() == "requeue 77\n"  # it has finished: not again
