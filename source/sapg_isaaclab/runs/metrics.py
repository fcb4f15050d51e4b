"""Where the numbers of a run go: ``metrics.jsonl`` and TensorBoard always, Weights & Biases on request."""

from __future__ import annotations

import io
import json
import math
import os
import pathlib
import time
from typing import Any

from sapg_isaaclab.errors import warn
from sapg_isaaclab.runs.files import GrowingFile, write_atomically
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.runs.video import Clip

LOGGERS = ("tensorboard", "wandb")


class MetricsWriter:
    """Writes one row of scalars per iteration.

    Trouble with one of the destinations is reported once and never stops training. Rows that a full disk did not take
    are written as soon as there is room.
    """

    def __init__(
        self,
        run: RunFolder | None,
        *,
        logger: str = "tensorboard",
        start_env_steps: int = 0,
        wandb_id: str | None = None,
        wandb_options: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        """Open the destinations.

        Args:
            run: The run folder. None, as on all ranks but the first: nothing is written.
            logger: ``tensorboard`` or ``wandb``; the latter is in addition to the former.
            start_env_steps: Environment steps before this start of the run; later points that an earlier start wrote
                are hidden by TensorBoard.
            wandb_id: Id of the Weights & Biases run to go on with.
            wandb_options: Arguments of ``wandb.init``, such as ``project``, ``group`` and ``tags``. What is not given
                is left to wandb's own variables, such as ``WANDB_PROJECT``, and then to the run folder's name.
            config: Configuration that Weights & Biases shall show.
        """
        self.wandb_id = wandb_id
        self._run = run
        self._warned: set[str] = set()
        self._rows = self._events = self._wandb = None
        self._decisions = 0
        if run is None:
            return
        self._rows = self._try("metrics.jsonl", lambda: GrowingFile(run.metrics_file))
        self._events = self._try("TensorBoard", lambda: EventFile(run.path, start_env_steps))
        if logger == "wandb":
            self._wandb = self._try(
                "Weights & Biases", lambda: _wandb(run, wandb_id, wandb_options or {}, config or {})
            )
            self.wandb_id = self._wandb.id if self._wandb is not None else wandb_id

    def write(self, iteration: int, env_steps: int, metrics: dict[str, float]) -> None:
        """Write one row.

        Args:
            iteration: Number of finished iterations.
            env_steps: Number of environment steps so far.
            metrics: Value by tag, such as ``Leader/return``.
        """
        row = {"iteration": iteration, "env_steps": env_steps, **metrics}
        if self._rows is not None:
            # JSON has no word for infinite or undefined numbers
            plain = {key: value if math.isfinite(value) else None for key, value in row.items()}
            self._try("metrics.jsonl", lambda: self._rows.append(f"{json.dumps(plain)}\n".encode()))
        if self._events is not None:
            self._try("TensorBoard", lambda: self._events.add_scalars(metrics, env_steps))
        if self._wandb is not None:
            self._try("Weights & Biases", lambda: self._wandb.log(row))

    def write_clip(self, clip: Clip, iteration: int, env_steps: int) -> None:
        """Show a video.

        Args:
            clip: The video.
            iteration: Number of finished iterations.
            env_steps: Number of environment steps so far.
        """
        if self._events is not None:
            self._try("TensorBoard", lambda: self._events.add_clip(clip, env_steps))
        if self._wandb is not None:
            self._try("Weights & Biases", lambda: self._show_in_wandb(clip, iteration, env_steps))

    def _show_in_wandb(self, clip: Clip, iteration: int, env_steps: int) -> None:
        import wandb

        video = wandb.Video(str(clip.path), format="mp4")
        self._wandb.log({"iteration": iteration, "env_steps": env_steps, clip.tag: video})

    def write_decisions(self, decisions: list[dict[str, Any]]) -> None:
        """Write ``decisions.jsonl``: what an algorithm decided, such as who was replaced by whom.

        Args:
            decisions: All decisions of the run so far.
        """
        if self._run is None or len(decisions) == self._decisions:
            return
        # the whole log every time: one that was only added to would keep what a resume from earlier takes back
        text = "".join(f"{json.dumps(decision, sort_keys=True)}\n" for decision in decisions)

        def write() -> None:
            write_atomically(self._run.path / "decisions.jsonl", text)
            self._decisions = len(decisions)

        self._try("decisions.jsonl", write)

    def close(self) -> None:
        """Finish writing."""
        if self._rows is not None:
            self._try("metrics.jsonl", self._rows.close)
        if self._events is not None:
            self._try("TensorBoard", self._events.close)
        if self._wandb is not None:
            self._try("Weights & Biases", self._wandb.finish)
        self._rows = self._events = self._wandb = None

    def _try(self, destination: str, action: Any) -> Any:
        try:
            return action()
        except Exception as error:  # whatever a logging service raises, training is worth more than its curve
            if destination not in self._warned:
                self._warned.add(destination)
                warn(f"{destination} failed ({error}); training goes on")
            return None


class EventFile:
    """A file of TensorBoard events, by tensorboard's own record format.

    tensorboard's writer hands events to a thread, which ends with a traceback where the disk is full, and its file
    with a part of an event.
    """

    def __init__(self, folder: pathlib.Path, start_env_steps: int = 0) -> None:
        """Begin a new file.

        Args:
            folder: The run folder.
            start_env_steps: Environment steps before; later points in older files of the folder are hidden.

        Raises:
            OSError: If it cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore  # made when imported

        # TensorBoard reads in the order of names: behind all files that are there, also where a clock was put back
        others = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
        second = max([int(time.time()), *(int(other) + 1 for other in others if other.isdecimal())])
        self._file = GrowingFile(folder / f"events.out.tfevents.{second}.{os.uname().nodename}.{os.getpid()}")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if start_env_steps:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=start_env_steps + 1, session_log=start))

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """Write one event.

        Args:
            scalars: Value by tag.
            step: Its place on the horizontal axis.

        Raises:
            OSError: If it cannot be written now; it will be with the next.
        """
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore  # likewise
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore  # likewise

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def add_clip(self, clip: Clip, step: int) -> None:
        """Write one event with a moving picture.

        Args:
            clip: The video.
            step: Its place on the horizontal axis.

        Raises:
            OSError: If it cannot be written now; it will be with the next.
        """
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore  # likewise
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore  # likewise

        # torch's add_video leaves the speed to the browser
        height, width = clip.size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=clip.preview)
        summary = Summary(value=[Summary.Value(tag=clip.tag, image=image)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(record.getvalue())

    def close(self) -> None:
        """Finish writing.

        Raises:
            OSError: If something cannot be written.
        """
        self._file.close()


def _wandb(run: RunFolder, wandb_id: str | None, options: dict[str, Any], config: dict[str, Any]) -> Any:
    import wandb

    defaults = {
        "project": os.environ.get("WANDB_PROJECT") or run.path.parent.name,
        "name": os.environ.get("WANDB_NAME") or run.path.name,
    }
    session = wandb.init(**{**defaults, **options}, id=wandb_id, resume="allow", dir=str(run.path), config=config)
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
    for line in run.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
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
    path = path / "metrics.jsonl" if os.path.isdir(path) else path
    if not os.path.isfile(path):  # pathlib's raises where the name is too long
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
