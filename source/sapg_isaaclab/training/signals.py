"""Requests to stop (Ctrl-C, SIGTERM, SIGHUP, ...) become a flag that the training loop reads between iterations."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (
    signal.SIGINT,  # Ctrl-C
    signal.SIGQUIT,  # Ctrl-\, and the stop signal of some containers
    signal.SIGHUP,  # the terminal or the connection has gone
    signal.SIGTERM,  # whoever is about to kill: schedulers, container runtimes, a machine that shuts down
    signal.SIGUSR1,  # sbatch --signal=USR1, and Grid Engine before it suspends
    signal.SIGUSR2,  # Grid Engine and LSF before they kill
    signal.SIGXCPU,  # a limit of processor time
    signal.SIGALRM,  # timeout --signal=ALRM, and parents with a clock
    signal.SIGPWR,  # the power is about to fail, or a container's host goes down
)
"""What asks for an end. SIGPIPE does not: who read the output has gone, and training goes on."""

CAUGHT_ANYWAY = "SAPG_STOP_SIGNALS"
"""Environment variable with names of signals, separated by commas, that are caught also where they are ignored."""

_SAME_S = 0.5
"""Two signals within this time are one [s]."""


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Handle all stop signals but those that are ignored, as by ``nohup``; returns the handlers before."""
    anyway = os.environ.get(CAUGHT_ANYWAY, "").split(",")
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, handler)
        for number in STOP_SIGNALS
        if number.name in anyway or signal.getsignal(number) is not signal.SIG_IGN
    }


def _put_back(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        # a handler that was not Python's cannot be put back
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Every stop signal ends what is inside as Ctrl-C does, so that it is put in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    previous = _install(interrupt)
    try:
        yield
    finally:
        _put_back(previous)


class StopFlag:
    """Catches the stop signals while it is entered.

    The first signal only sets the flag, so that the iteration ends and a checkpoint is written. A second Ctrl-C
    (or SIGQUIT) interrupts at once; the last checkpoint stays. A signal that is ignored stays ignored. Outside the main
    thread, where Python cannot install handlers, the flag is never set by itself.

    Example::

        with StopFlag() as stop:
            while not stop.requested:
                ...
    """

    def __init__(self) -> None:
        """Create the flag; nothing is caught before it is entered."""
        self.signal_name: str | None = None
        self._since = 0.0
        self._previous: dict[int, Any] = {}

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
        self._previous = _install(self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        _put_back(self._previous)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.signal_name, self._since = signal.Signals(number).name, time.monotonic()
        # one Ctrl-C may arrive twice: by the terminal, and by a parent that passes it on
        elif number in (signal.SIGINT, signal.SIGQUIT) and time.monotonic() - self._since > _SAME_S:
            raise KeyboardInterrupt
