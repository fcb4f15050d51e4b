"""Trials as one array job of Slurm: a file with the arguments of every task, and ``scripts/cluster/train.sbatch``."""

from __future__ import annotations

import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Iterable

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.experiments.campaign import Campaign
from sapg_isaaclab.experiments.trials import Trial
from sapg_isaaclab.runs.files import write_atomically

SCRIPT = pathlib.Path("scripts/cluster/train.sbatch")
"""The batch script, from the checkout that jobs are submitted in."""


def submit(campaign: Campaign, trials: Iterable[Trial], device: str, folder: pathlib.Path) -> None:
    """Submit what is not trained yet as one array; where there is no Slurm, print the command.

    Args:
        campaign: Where runs lie.
        trials: What shall be trained.
        device: Where to compute.
        folder: Folder for the file with the arguments, ``array.txt``, and the job's number, ``submitted``.

    Raises:
        InputError: If a trial needs no simulator, the last array is still queued, there is no batch script here, or
            Slurm refuses.
    """
    shelf, lines, ranks = campaign.shelf(), [], 1
    for trial in dict.fromkeys(trials):
        ranks = trial.ranks  # the same for all of a suite
        if trial.point:
            raise InputError(f"{trial.task} needs no simulator and takes a minute: use --where local")
        run, iteration = shelf.find(trial)
        if iteration < trial.iterations:
            end = ["--max_iterations", str(trial.iterations), "--device", trial.device(device)]
            start = ["--resume", str(run.path)] if run else [trial.task, *trial.task_options()]
            lines.append(shlex.join([*start, *end]))
    if not lines:
        print("everything is trained; --where local evaluates and draws")
        return
    submitted = folder / "submitted"
    _refuse_while_queued(submitted)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "array.txt", "\n".join(lines) + "\n")
    job = [f"--array=1-{len(lines)}", *([f"--gpus-per-node={ranks}"] if ranks > 1 else [])]
    command = ["sbatch", "--parsable", *job, str(SCRIPT), f"@{folder / 'array.txt'}"]
    if shutil.which("sbatch") is None:
        print(f"there is no Slurm here; from this folder, on a machine that has it:\n  {shlex.join(command)}")
        return
    if not SCRIPT.is_file():
        raise InputError(f"there is no {SCRIPT} here; start this in a checkout of the project")
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"sbatch refuses: {' '.join(result.stderr.split())}")
    number = result.stdout.strip().split(";")[0]
    write_atomically(submitted, f"{number}\n")
    print(f"submitted {len(lines)} runs as array job {number}; the same command draws what is done, and goes on")


def _refuse_while_queued(submitted: pathlib.Path) -> None:
    if not submitted.is_file() or shutil.which("squeue") is None:
        return
    number = submitted.read_text(encoding="utf-8").strip()
    queue = subprocess.run(["squeue", "--noheader", "--jobs", number], capture_output=True, text=True)
    if queue.returncode == 0 and queue.stdout.strip():
        raise InputError(
            f"array job {number} of this suite is still queued or running; wait for it, or scancel {number}"
        )
