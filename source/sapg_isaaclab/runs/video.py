"""Moving pictures as files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np

from sapg_isaaclab.runs.files import unfinished, write_atomically

ANIMATION_RATE_HZ = 15.0
"""Largest number of frames in a second of what shall stay small."""


def thinned(rate: float) -> tuple[int, float]:
    """Which steps to draw so that a video in real time stays small.

    Args:
        rate: Steps per second [Hz].

    Returns:
        Steps from frame to frame, and frames per second [Hz]: about :data:`ANIMATION_RATE_HZ`, or all there are.
    """
    stride = max(1, round(rate / ANIMATION_RATE_HZ))
    return stride, rate / stride


@dataclasses.dataclass(frozen=True)
class Clip:
    """A finished video of a run, with what loggers need to show it."""

    path: pathlib.Path
    """The video."""

    tag: str
    """What it shows, as a tag for loggers."""

    preview: bytes
    """The same at half the size, as a GIF."""

    size: tuple[int, int]
    """Height and width of the preview [pixel]."""


class VideoFile:
    """A video that is written frame by frame and bears its name once it is whole."""

    def __init__(self, path: pathlib.Path, frame_rate: float) -> None:
        """Prepare; the file is begun with the first frame.

        Args:
            path: The file, ``.mp4``, ``.gif`` or ``.webp``.
            frame_rate: Frames per second [Hz].
        """
        self.path, self.frame_rate = path, frame_rate
        self._temporary = unfinished(path)
        self._frames: list[np.ndarray] = []
        self._encoder: subprocess.Popen[bytes] | None = None

    def append(self, frame: np.ndarray) -> None:
        """Add a frame.

        Args:
            frame: RGB image, uint8, shape (H, W, 3), of the size of the first one.

        Raises:
            OSError: If it cannot be written.
        """
        if self.path.suffix != ".mp4":
            self._frames.append(frame)
            return
        if self._encoder is None:
            self._encoder = _encoder(self._temporary, frame.shape[1], frame.shape[0], self.frame_rate)
        assert self._encoder.stdin is not None
        self._encoder.stdin.write(np.ascontiguousarray(frame).data)

    def close(self) -> None:
        """Complete the file; without frames there is none.

        Raises:
            OSError: If it cannot be written.
        """
        if self._encoder is not None:
            _, errors = self._encoder.communicate()
            if self._encoder.returncode:
                raise OSError(errors.decode(errors="replace") or "the encoder was stopped")
            os.replace(self._temporary, self.path)
        elif self._frames:
            write_atomically(self.path, animation(self._frames, self.frame_rate, self.path.suffix))

    def discard(self) -> None:
        """Drop what was written."""
        if self._encoder is not None:
            self._encoder.kill()
            with contextlib.suppress(OSError):
                self._encoder.communicate()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def _encoder(path: pathlib.Path, width: int, height: int, frame_rate: float) -> subprocess.Popen[bytes]:
    """Start ffmpeg, which takes frames on its standard input.

    imageio's writers fork, which may hang in a process with as many threads as a simulation has.
    """
    import imageio_ffmpeg

    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{frame_rate:g}", "-i", "-"]
    even = ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2"]  # colours are stored for squares of four pixels
    mp4 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    return subprocess.Popen(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *raw, *even, *mp4, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for the run, which then completes its clip
    )


def animation(frames: Sequence[np.ndarray], frame_rate: float, suffix: str) -> bytes:
    """Encode an endless animation.

    Args:
        frames: RGB images, uint8, shape (H, W, 3) each.
        frame_rate: Frames per second [Hz]. A GIF has durations in hundredths of a second.
        suffix: ``.gif`` or ``.webp``.

    Returns:
        Content of a file.
    """
    import imageio.v3 as imageio

    options: dict[str, Any] = {"quality": 75, "method": 6} if suffix == ".webp" else {}
    unit = 10 if suffix == ".gif" else 1
    options |= {"duration": unit * max(1, round(1000.0 / frame_rate / unit)), "loop": 0}
    return imageio.imwrite("<bytes>", np.stack(frames), extension=suffix, **options)
