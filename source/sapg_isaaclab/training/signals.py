"""Requests to stop (Ctrl-C, SIGTERM, SIGUSR1) become a flag that the training loop reads between iterations."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, what a scheduler sends before it kills, and what ``sbatch --signal=USR1`` sends ahead of the time limit."""


class StopFlag:
    """Catches the stop signals while it is entered.

    The first signal only sets the flag, so that the iteration ends and a checkpoint is written. A second Ctrl-C
    interrupts at once. Outside the main thread, where Python cannot install handlers, the flag is never set by itself.

    Example::

        with StopFlag() as stop:
            while not stop.requested:
                ...
    """

    def __init__(self) -> None:
        """Create the flag; nothing is caught before it is entered."""
        self.signal_name: str | None = None
        self._previous: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal_name is not None

    def request(self, reason: str) -> None:
        """Ask for a stop from inside the program.

        Args:
            reason: What is shown to the user.
        """
        self.signal_name = reason

    def __enter__(self) -> StopFlag:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
