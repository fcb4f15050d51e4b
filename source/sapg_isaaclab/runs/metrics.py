"""Where the numbers of a run go: ``metrics.jsonl`` and TensorBoard always, Weights & Biases on request."""

from __future__ import annotations

import functools
import json
import math
import os
import pathlib
import sys
from typing import Any

from sapg_isaaclab.runs.run_folder import RunFolder, write_atomically

LOGGERS = ("tensorboard", "wandb")


class MetricsWriter:
    """Writes one row of scalars per iteration.

    Trouble with one of the destinations is reported once and never stops training.
    """

    def __init__(
        self,
        run: RunFolder | None,
        *,
        logger: str = "tensorboard",
        start_env_steps: int = 0,
        wandb_id: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        """Open the destinations.

        Args:
            run: The run folder. None, as on all ranks but the first: nothing is written.
            logger: ``tensorboard`` or ``wandb``; the latter is in addition to the former.
            start_env_steps: Environment steps before this start of the run; later points that an earlier start wrote
                are hidden by TensorBoard.
            wandb_id: Id of the Weights & Biases run to go on with.
            config: Configuration that Weights & Biases shall show.
        """
        self.wandb_id = wandb_id
        self._warned: set[str] = set()
        self._file = self._events = self._wandb = None
        if run is None:
            return
        open_file = functools.partial(open, run.metrics_file, "a", encoding="utf-8")  # closed by close()
        self._file = self._try("metrics.jsonl", open_file)
        self._events = self._try("TensorBoard", lambda: _tensorboard(run.path, start_env_steps))
        if logger == "wandb":
            self._wandb = self._try("Weights & Biases", lambda: _wandb(run, wandb_id, config or {}))
            self.wandb_id = self._wandb.id if self._wandb is not None else wandb_id

    def write(self, iteration: int, env_steps: int, metrics: dict[str, float]) -> None:
        """Write one row.

        Args:
            iteration: Number of finished iterations.
            env_steps: Number of environment steps so far.
            metrics: Value by tag, such as ``Leader/return``.
        """
        row = {"iteration": iteration, "env_steps": env_steps, **metrics}
        if self._file is not None:
            # JSON has no word for infinite or undefined numbers
            plain = {key: value if math.isfinite(value) else None for key, value in row.items()}
            self._try("metrics.jsonl", lambda: (self._file.write(json.dumps(plain) + "\n"), self._file.flush()))
        if self._events is not None:
            for tag, value in metrics.items():
                self._try("TensorBoard", lambda tag=tag, value=value: self._events.add_scalar(tag, value, env_steps))
        if self._wandb is not None:
            self._try("Weights & Biases", lambda: self._wandb.log(row))

    def close(self) -> None:
        """Finish writing."""
        if self._file is not None:
            self._try("metrics.jsonl", self._file.close)
        if self._events is not None:
            self._try("TensorBoard", self._events.close)
        if self._wandb is not None:
            self._try("Weights & Biases", self._wandb.finish)
        self._file = self._events = self._wandb = None

    def _try(self, destination: str, action: Any) -> Any:
        try:
            return action()
        except Exception as error:  # whatever a logging service raises, training is worth more than its curve
            if destination not in self._warned:
                self._warned.add(destination)
                print(f"warning: {destination} failed ({error}); training goes on", file=sys.stderr, flush=True)
            return None


def _tensorboard(folder: pathlib.Path, start_env_steps: int) -> Any:
    # imported late: it takes seconds where TensorFlow is installed
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=start_env_steps + 1 if start_env_steps else None)


def _wandb(run: RunFolder, wandb_id: str | None, config: dict[str, Any]) -> Any:
    import wandb

    session = wandb.init(
        project=os.environ.get("WANDB_PROJECT", run.path.parent.name),
        name=run.path.name,
        id=wandb_id,
        resume="allow",
        dir=str(run.path),
        config=config,
    )
    # our own axis: wandb's step cannot go back to a checkpoint
    session.define_metric("*", step_metric="env_steps")
    return session


def rewind(run: RunFolder, iteration: int) -> int:
    """Take rows after an iteration out of ``metrics.jsonl``, because training goes on from there.

    The rows are kept in ``metrics.discarded.jsonl``. A last line that was cut off by a crash is dropped.

    Args:
        run: The run folder.
        iteration: Last iteration whose row stays.

    Returns:
        Number of rows taken out.
    """
    if not run.metrics_file.exists():
        return 0
    kept, discarded = [], []
    for line in run.metrics_file.read_text(encoding="utf-8").splitlines():
        try:
            (kept if json.loads(line)["iteration"] <= iteration else discarded).append(line)
        except (ValueError, KeyError, TypeError):
            continue
    if discarded:
        with open(run.path / "metrics.discarded.jsonl", "a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in discarded))
    write_atomically(run.metrics_file, "".join(f"{line}\n" for line in kept))
    return len(discarded)


def read(run: RunFolder | str | pathlib.Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``.

    Args:
        run: The run folder, or a file of that kind that was put elsewhere.

    Returns:
        One dictionary per iteration. A last line that was cut off, because somebody is writing it, is left out.

    Raises:
        ValueError: If there is no such file, or a line of it is no row.
    """
    path = run.path if isinstance(run, RunFolder) else pathlib.Path(run)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{run} is no run folder: there is no {path}")
    text = path.read_text(encoding="utf-8")
    rows = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if not line.endswith("\n"):
                break
            raise ValueError(f"{path}, line {number}: not JSON") from None
        rows.append(row)
    return rows
