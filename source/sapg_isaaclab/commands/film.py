"""Pictures of a playing policy, as an MP4 file or as PNG frames."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sapg_isaaclab.commands.places import check_new_file
from sapg_isaaclab.errors import InputError

if TYPE_CHECKING:
    from sapg_isaaclab.commands.playing import Replay


def target(args: argparse.Namespace) -> pathlib.Path | None:
    """File or folder that the command line asks for.

    Args:
        args: Arguments of ``play``.

    Returns:
        A ``.mp4`` file, a folder for frames, or None if none is named.

    Raises:
        InputError: If it exists, cannot be written, or two are asked for.
    """
    asked = [name for name in ("video", "frames", "no_video") if getattr(args, name) not in (None, False)]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(f'--{name}' for name in asked)} contradict each other; keep one of them")
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", args.size):
        raise InputError(f"--size {args.size} is not understood; use WIDTHxHEIGHT in pixels, such as 640x480")
    path = args.video or args.frames
    if not path:
        return None  # --video without a name: the default one
    path = pathlib.Path(path)
    if args.video and path.suffix != ".mp4":
        raise InputError(f"--video {path} must end in .mp4; for single pictures use --frames FOLDER")
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


def enable(env_cfg: Any, size: str) -> None:
    """Prepare an environment for drawing.

    Args:
        env_cfg: Configuration of the environment, before it is made.
        size: ``WIDTHxHEIGHT`` [pixel].
    """
    from sapg_isaaclab.tasks.rendering import enable_rendering

    width, height = map(int, size.split("x"))
    enable_rendering(env_cfg, width=width, height=height, env_index=0)


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
            target: ``.mp4`` file, or folder for frames.
            frame_rate: Frames per second of the video [Hz].
        """
        self.env, self.target, self.frame_rate = env, target, frame_rate
        self._writer: Any = None
        self._count = 0

    def __enter__(self) -> Recorder:
        """Create the file or folder."""
        if self.target is None:
            return self
        try:
            if self.target.suffix == ".mp4":
                import imageio

                self.target.parent.mkdir(parents=True, exist_ok=True)
                self._writer = imageio.get_writer(self.target, fps=self.frame_rate, macro_block_size=2)
            else:
                self.target.mkdir()
        except OSError as error:
            raise InputError(f"cannot write {self.target}: {error.strerror or error}") from error
        return self

    def grab(self) -> None:
        """Add the present picture."""
        if self.target is None:
            return
        import imageio

        from sapg_isaaclab.tasks.rendering import grab_frame

        frame = grab_frame(self.env)
        if self._writer is not None:
            self._writer.append_data(frame)
        else:
            imageio.imwrite(self.target / f"frame_{self._count:05d}.png", frame)
        self._count += 1

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
