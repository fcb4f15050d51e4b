"""Moving pictures as files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Generator, Sequence

import numpy as np

from sapg_isaaclab.runs.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Clip:
    """A finished video of a run, with what loggers need to show it."""

    path: pathlib.Path
    """The video."""

    tag: str
    """What it shows, as a tag for loggers."""

    frames: list[np.ndarray]
    """Its frames at half the size, uint8, shape (H, W, 3)."""

    frame_rate: float
    """Frames per second, so that it runs in real time [Hz]."""


class VideoFile:
    """A video that is written frame by frame and bears its name once it is whole."""

    def __init__(self, path: pathlib.Path, frame_rate: float) -> None:
        """Prepare; the file is begun with the first frame.

        Args:
            path: The file, ``.mp4``, ``.gif`` or ``.webp``.
            frame_rate: Frames per second [Hz].
        """
        self.path, self.frame_rate = path, frame_rate
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._frames: list[np.ndarray] = []
        self._writer: Generator[None, np.ndarray | None] | None = None

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
        if self._writer is None:
            import imageio_ffmpeg

            height, width, _ = frame.shape
            self._writer = imageio_ffmpeg.write_frames(
                self._temporary,
                (width, height),
                fps=self.frame_rate,
                macro_block_size=2,  # what the usual way of storing colours asks for
                output_params=["-f", "mp4", "-movflags", "+faststart"],
            )
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        """Complete the file; without frames there is none.

        Raises:
            OSError: If it cannot be written.
        """
        if self._writer is not None:
            self._writer.close()
            os.replace(self._temporary, self.path)
        elif self._frames:
            write_atomically(self.path, animation(self._frames, self.frame_rate, self.path.suffix))

    def discard(self) -> None:
        """Drop what was written."""
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


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

    options = {"quality": 75, "method": 6} if suffix == ".webp" else {}
    unit = 10 if suffix == ".gif" else 1
    duration = unit * max(1, round(1000.0 / frame_rate / unit))
    return imageio.imwrite("<bytes>", np.stack(frames), extension=suffix, duration=duration, loop=0, **options)
