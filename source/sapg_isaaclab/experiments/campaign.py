"""Carry out trials: what is missing is started, what was stopped goes on, what is done is left alone.

Each run is a process of its own: ``train``, then ``evaluate``. What is done is read from the run folders alone, so a
campaign that was stopped, or killed, goes on when it is started again. Several may work side by side: whoever works on
a trial holds a lock, which the process that trains inherits and which therefore outlives whoever started it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from sapg_isaaclab.experiments.trials import Shelf, Trial
from sapg_isaaclab.training.signals import StopFlag

PROGRAM = (sys.executable, "-m", "sapg_isaaclab")
"""What carries out the commands of a trial."""

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
"""What starts it in several processes, behind Python's own name."""

_POLL_S = 0.5


@dataclasses.dataclass(eq=False)
class _Job:
    """A process at work on a trial."""

    trial: Trial
    process: subprocess.Popen
    device: str
    lock: int
    log: pathlib.Path
    began_with: tuple[list[str], int]
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def verb(self) -> str:
        command, _ = self.began_with
        verb = command[1] if command[0] == "study" else command[0]
        return "resume" if "--resume" in command else verb


class Campaign:
    """Trains and evaluates trials, some at a time."""

    def __init__(
        self,
        log_root: pathlib.Path,
        roots: Iterable[pathlib.Path] = (),
        *,
        devices: Iterable[str] = ("cpu",),
        episodes: int = 0,
        any_code: bool = False,
        program: Iterable[str] = PROGRAM,
    ) -> None:
        """Set up; nothing is started.

        Args:
            log_root: Folder for new runs.
            roots: Further folders in which runs may lie.
            devices: Where to compute, one for each process that may run at a time.
            episodes: Episodes of each run's evaluation; 0 for none.
            any_code: Take runs of another version of the code, or of its packages, for the same.
            program: What carries out the commands of a trial.
        """
        self.log_root, self._roots = log_root.resolve(), [log_root, *roots]
        self._devices, self._episodes = list(devices), episodes
        self._any_code, self._program = any_code, list(program)

    def shelf(self) -> Shelf:
        """The runs there are.

        Returns:
            All runs below all folders, as they lie on disk now.
        """
        return Shelf([root.resolve() for root in self._roots], any_code=self._any_code)

    def next_command(self, trial: Trial, shelf: Shelf, device: str) -> list[str] | None:
        """What is to be done next for a trial.

        Args:
            trial: The trial.
            shelf: The runs there are.
            device: Where to compute.

        Returns:
            Arguments of a command; None if the trial is done.
        """
        run, iteration = shelf.find(trial)
        if run is None or iteration < trial.iterations:
            return trial.train(self.log_root, run, device)
        if self._episodes and not trial.evaluation_file(run, self._episodes).exists():
            return trial.evaluate(run, self._episodes, device)
        return None

    def carry_out(self, trials: Iterable[Trial], report: Callable[[str], None] = print) -> int:
        """Do all that is missing.

        Args:
            trials: What to do, in this order.
            report: Is told what happens, one line each.

        Returns:
            Number of trials that failed.

        Raises:
            KeyboardInterrupt: If it was told to stop. What was running has left a checkpoint and ended.
        """
        waiting, active, failed = list(dict.fromkeys(trials)), [], 0
        folder = self.log_root / "campaign"
        folder.mkdir(parents=True, exist_ok=True)
        with StopFlag() as stop:
            try:
                while (waiting or active) and not stop.requested:
                    for job in [job for job in active if job.process.poll() is not None]:
                        active.remove(job)
                        if self._ended(job, report):
                            waiting.insert(0, job.trial)  # to be evaluated, or done
                        else:
                            failed += 1
                    free = list(self._devices)
                    for job in active:
                        free.remove(job.device)
                    if free and waiting:
                        active += self._begin_some(waiting, free, folder, report)
                    time.sleep(_POLL_S if active or not waiting else 10 * _POLL_S)
            finally:
                if active:
                    report(f"stopping; waiting for {len(active)} to leave a checkpoint")
                for job in active:
                    # whoever is at a terminal has had Ctrl-C itself; this one never interrupts at once
                    job.process.send_signal(signal.SIGTERM)
                for job in active:
                    job.process.wait()
            if stop.requested:
                raise KeyboardInterrupt(stop.signal_name)
        return failed

    def _begin_some(
        self, waiting: list[Trial], free: list[str], folder: pathlib.Path, report: Callable[[str], None]
    ) -> list[_Job]:
        """Start as much of what waits as devices are free; what is done, or begun, waits no more."""
        begun, shelf = [], self.shelf()
        for trial in list(waiting):
            if len(begun) == len(free):
                break
            device = free[len(begun)]
            if self.next_command(trial, shelf, device) is None:
                waiting.remove(trial)
                continue
            job = self._begin(trial, device, folder)
            if job is not None:  # else another campaign is at it, or has just done it
                report(f"{job.verb}: {trial}")
                waiting.remove(trial)
                begun.append(job)
        return begun

    def _begin(self, trial: Trial, device: str, folder: pathlib.Path) -> _Job | None:
        name = trial.key()
        lock = os.open(folder / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        shelf = self.shelf() if _taken(lock) else None
        command = self.next_command(trial, shelf, device) if shelf else None
        if command is None:
            os.close(lock)
            return None
        log = folder / f"{name}.txt"
        program, processes = self._program, len(self._devices)
        if "--distributed" in command:
            program = [program[0], *TORCHRUN, f"--nproc_per_node={trial.ranks}", *program[1:]]
            processes *= trial.ranks
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*program, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                env={"OMP_NUM_THREADS": threads, **os.environ},
            )
        return _Job(trial, process, device, lock, log, (command, shelf.find(trial).iteration))

    def _ended(self, job: _Job, report: Callable[[str], None]) -> bool:
        os.close(job.lock)
        code, shelf = job.process.returncode, self.shelf()
        command = self.next_command(job.trial, shelf, job.device)
        stuck = (command, shelf.find(job.trial).iteration) == job.began_with
        minutes = (time.monotonic() - job.began) / 60.0
        if code == 0 and not stuck:
            report(f"  {'done' if command is None else 'ended'} after {minutes:.1f} min: {job.trial}")
            return True
        report(f"  FAILED with exit code {code} after {minutes:.1f} min: {job.trial}; see {job.log}")
        return False


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can be kept out
        return True
    return True
