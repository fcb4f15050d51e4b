"""Pictures of a playing policy, as a video, an animation or PNG frames."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sapg_isaaclab.commands.places import check_new_file
from sapg_isaaclab.errors import InputError, one_line

if TYPE_CHECKING:
    from sapg_isaaclab.commands.playing import Replay

SUFFIXES = (".mp4", ".gif", ".webp")
"""Kinds of videos. A page shows the last two like a picture; the first is by far the smallest."""


def target(args: argparse.Namespace) -> pathlib.Path | None:
    """File or folder that the command line asks for.

    Args:
        args: Arguments of ``play``.

    Returns:
        A video file, a folder for frames, or None if none is named.

    Raises:
        InputError: If it exists, cannot be written, or two are asked for.
    """
    asked = [name for name in ("video", "frames", "no_video") if getattr(args, name) not in (None, False)]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(f'--{name}' for name in asked)} contradict each other; keep one of them")
    if args.visualizer and "no_video" not in asked:
        raise InputError("--viz shows the policy live, a video is drawn off screen; add --no_video, or drop --viz")
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", args.size):
        raise InputError(f"--size {args.size} is not understood; use WIDTHxHEIGHT in pixels, such as 640x480")
    path = args.video or args.frames
    if not path:
        return None  # --video without a name: the default one
    path = pathlib.Path(path)
    if args.video and path.suffix not in SUFFIXES:
        raise InputError(f"--video {path} must end in {', '.join(SUFFIXES)}; for single pictures use --frames FOLDER")
    check_new_file(path, "--video" if args.video else "--frames")
    return path


def default_target(job: Replay) -> pathlib.Path:
    """Video file used when none is named: below the run folder, or below the working folder if that cannot be.

    Args:
        job: What is played.

    Returns:
        A path of no existing file.
    """
    own = job.run is not None and os.access(job.run.path, os.W_OK)
    folder = job.run.path / "videos" if own else pathlib.Path("videos")
    iteration = job.saved["iteration"] if job.saved is not None else 0
    stem = f"play_{iteration}_block_{job.block}"
    names = (folder / f"{stem}{f'_{count}' if count else ''}.mp4" for count in range(10_000))
    return next(name for name in names if not name.exists())


def enable(env_cfg: Any, size: str, env_index: int = 0) -> None:
    """Prepare an environment for drawing.

    Args:
        env_cfg: Configuration of the environment, before it is made.
        size: ``WIDTHxHEIGHT`` [pixel].
        env_index: Which one to draw.

    Raises:
        InputError: If this machine cannot draw, or there are not so many environments.
    """
    from sapg_isaaclab.tasks.rendering import enable_rendering

    width, height = map(int, size.split("x"))
    try:
        enable_rendering(env_cfg, width=width, height=height, env_index=env_index)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"no video: {one_line(error)}") from error


def frame_rate(env_cfg: Any) -> float:
    """Frames per second [Hz] at which a video runs in real time.

    Args:
        env_cfg: Configuration of the environment.

    Returns:
        Steps of the environment per second.
    """
    return 1.0 / (env_cfg.sim.dt * env_cfg.decimation)


class Recorder:
    """Writes a frame at every :meth:`grab`; without a target it does nothing."""

    def __init__(self, env: Any, target: pathlib.Path | None, frame_rate: float) -> None:
        """Prepare; files are created when it is entered.

        Args:
            env: Environment that was made after :func:`enable`.
            target: Video file, or folder for frames.
            frame_rate: Steps of the environment per second [Hz]; the video runs in real time.
        """
        from sapg_isaaclab.runs.video import thinned

        self.env, self.target = env, target
        animated = target is not None and target.suffix in SUFFIXES[1:]
        self._stride, self.frame_rate = thinned(frame_rate) if animated else (1, frame_rate)
        self._video: Any = None
        self._count = 0

    def __enter__(self) -> Recorder:
        """Create the file or folder."""
        if self.target is None:
            return self
        try:
            if self.target.suffix in SUFFIXES:
                from sapg_isaaclab.runs.video import VideoFile

                self.target.parent.mkdir(parents=True, exist_ok=True)
                self._video = VideoFile(self.target, self.frame_rate)
            else:
                self.target.mkdir()
        except OSError as error:
            raise InputError(f"cannot write {self.target}: {error.strerror or error}") from error
        return self

    def grab(self) -> None:
        """Add the present picture; of an animation only every second or fourth, so that it stays small."""
        index, self._count = self._count, self._count + 1
        if self.target is None or index % self._stride:
            return
        import imageio

        from sapg_isaaclab.tasks.rendering import grab_frame

        frame = grab_frame(self.env)
        if self._video is not None:
            self._video.append(frame)
        else:
            imageio.imwrite(self.target / f"frame_{index:05d}.png", frame)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish the file; what an error has cut short is dropped."""
        if self._video is not None:
            self._video.discard() if kind is not None else self._video.close()
