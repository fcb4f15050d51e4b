"""Short videos of a training run, taken of environments that train."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from sapg_isaaclab.errors import one_line, warn
from sapg_isaaclab.runs.files import remove_leftovers
from sapg_isaaclab.runs.video import Clip, VideoFile, animation, thinned

SHORTEST_INTERVAL = 2000
"""Steps from the beginning of a clip to that of the next at least, where no interval is given: Isaac Lab's."""

LARGEST_SHARE = 0.03
"""Share of the time of training that filming may take, where no interval is given."""


class Clips:
    """Films the first environment of one or several blocks, with the actions of training.

    Nothing is drawn between clips. A clip that cannot be made is reported and given up; training goes on.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        draw: Callable[[int], np.ndarray],
        *,
        control_rate: float,
        block_size: int,
        blocks: Sequence[int] = (),
        length: int = 200,
        interval: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the first clip begins with the first step.

        Args:
            folder: Where clips go.
            draw: Gives a picture of an environment, uint8, shape (H, W, 3).
            control_rate: Steps of an environment in a second of the task [Hz].
            block_size: Environments of a block.
            blocks: Blocks to film, side by side; by default the leader, whichever that is when a clip begins.
            length: Steps of a clip.
            interval: Steps from the beginning of a clip to that of the next. By default as few as filming may take its
                largest share of the time with, and not fewer than :data:`SHORTEST_INTERVAL`.
            clock: Gives the time [s].
        """
        self.folder, self.spent_s = folder, 0.0
        self._draw, self._block_size, self._blocks = draw, block_size, tuple(blocks)
        self._length, self._interval, self._clock = length, interval, clock
        self._stride, self._frame_rate = thinned(control_rate)
        self._began_s, self._last_cost_s, self._spent_before_s = clock(), 0.0, 0.0
        self._since = 0
        self._envs: list[int] = []
        self._tag = ""
        self._file: VideoFile | None = None
        self._frames: list[np.ndarray] = []
        self._finished: list[Clip] = []
        remove_leftovers(folder)

    def step(self, iteration: int, leader: int | None) -> None:
        """After a step of all environments: draw it if it belongs to a clip.

        Args:
            iteration: Number of finished iterations.
            leader: The leader's block; None while another rank holds it, which puts off a clip of the leader.
        """
        blocks = self._blocks or (() if leader is None else (leader,))
        if self._file is None and blocks and self._is_due():
            self._begin(iteration, blocks)
        self._since += 1
        if self._file is None:
            return
        if (self._since - 1) % self._stride == 0:
            self._film()
        if self._since >= self._length:
            self.end()

    def end(self) -> None:
        """Complete the clip that is under way, if there is one."""
        if self._file is None:
            return
        file, frames = self._file, self._frames
        self._file = None

        def finish() -> None:
            file.close()
            preview = animation(frames, self._frame_rate, ".gif")
            self._finished.append(Clip(file.path, self._tag, preview, frames[0].shape[:2]))

        self._guarded(file, finish)
        self._last_cost_s = self.spent_s - self._spent_before_s

    def give_up(self) -> None:
        """Drop the clip that is under way."""
        if self._file is not None:
            self._file.discard()
            self._file = None

    def finished(self) -> list[Clip]:
        """Clips that were finished since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _is_due(self) -> bool:
        if not self._since:
            return True
        if self._interval is not None:
            return self._since >= self._interval
        will_be = self.spent_s + self._last_cost_s
        return self._since >= SHORTEST_INTERVAL and will_be <= LARGEST_SHARE * (self._clock() - self._began_s)

    def _begin(self, iteration: int, blocks: Sequence[int]) -> None:
        what = f"block_{'_'.join(map(str, blocks))}" if self._blocks else "leader"
        name, self._tag = f"iteration_{iteration:06d}_{what}.mp4", f"Video/{what}"
        self._since, self._spent_before_s = 0, self.spent_s
        self._envs = [block * self._block_size for block in blocks]
        self._file, self._frames = VideoFile(self.folder / name, self._frame_rate), []

    def _film(self) -> None:
        assert self._file is not None
        self._guarded(self._file, self._add_frame)

    def _add_frame(self) -> None:
        assert self._file is not None
        self.folder.mkdir(exist_ok=True)
        frame = np.concatenate([self._draw(env) for env in self._envs], axis=1)
        self._file.append(frame)
        height, width = frame.shape[0] // 2, frame.shape[1] // 2
        squares = frame[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        self._frames.append(squares.mean((1, 3)).astype(np.uint8))

    def _guarded(self, file: VideoFile, action: Callable[[], None]) -> None:
        began_s = self._clock()
        try:
            action()
        except Exception as error:  # whatever a driver or an encoder raises, training is worth more than its film
            warn(f"{file.path} failed ({one_line(error)}); training goes on")
            file.discard()
            self._file = None
        finally:
            self.spent_s += self._clock() - began_s
