"""Standard output and error that cannot fail: whoever reads along may go, stop reading, or have a full disk."""

from __future__ import annotations

import atexit
import contextlib
import io
import math
import os
import select
import stat
import sys
import time
from typing import Any, TextIO

_PIPE_CHUNK = 512
"""Bytes that a pipe takes as a whole as soon as it takes any (``PIPE_BUF`` of POSIX)."""


class UnfailingFile(io.RawIOBase):
    """Writes to a file descriptor; what cannot be written is dropped, and whoever wrote it goes on."""

    def __init__(self, descriptor: int, patience_s: float = math.inf) -> None:
        """Wrap a descriptor, which stays open when this is closed.

        Args:
            descriptor: Where to write.
            patience_s: Longest wait for a reader that does not read [s].
        """
        self.descriptor, self.patience_s = descriptor, patience_s
        self.error: OSError | None = None
        """Why a file does not hold all that was written. A pipe or terminal that nobody reads is no error."""
        self._stalled = False
        kind = os.fstat(descriptor).st_mode
        self._waits = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def fileno(self) -> int:
        """The descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.descriptor)

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: Any) -> int:
        """Write as much as can be written.

        Args:
            data: The bytes.

        Returns:
            Their number, also where some were dropped.
        """
        rest = memoryview(data).cast("B")
        size = len(rest)
        # a reader that has stopped once is not waited for again before it reads
        until = time.monotonic() + (0.0 if self._stalled else self.patience_s)
        try:
            while rest and self._ready(until):
                try:
                    rest = rest[os.write(self.descriptor, rest[:_PIPE_CHUNK] if self._waits else rest) :]
                except BlockingIOError:  # somebody made the pipe non-blocking
                    time.sleep(0.01)
        except OSError as error:
            if not self._waits:
                self.error = error
        return size

    def _ready(self, until: float) -> bool:
        if self._waits and math.isfinite(self.patience_s):
            left_ms = max(0.0, until - time.monotonic()) * 1000.0
            self._stalled = not self._poll.poll(left_ms)
        return not self._stalled


class Forgiving:
    """A text stream whose writing never raises; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream.

        Args:
            stream: Such as ``sys.stdout``.
        """
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written.

        Args:
            text: The text.

        Returns:
            Its length.
        """
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as far as that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Everything else."""
        return getattr(self._stream, name)


def protect(patience_s: float = math.inf) -> None:
    """Make standard output and error of this process unfailing.

    Streams that were closed at the start lead nowhere, text that the stream's encoding lacks is written as escapes.
    A stream that somebody has put in the place of the process's own (a test, a notebook) stays as it is.

    Args:
        patience_s: Longest wait for a reader that does not read [s]; what it would have read is dropped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # the lowest free number is taken: the next file that is opened must not become standard output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream, own = getattr(sys, name), getattr(sys, f"__{name}__")
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, UnfailingFile):
            raw.patience_s = patience_s
        elif stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, as long as the process
        elif stream is own:
            setattr(sys, name, _unfailing(stream, patience_s))


def _unfailing(stream: TextIO, patience_s: float) -> TextIO:
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    raw = UnfailingFile(stream.fileno(), patience_s)
    result = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    atexit.register(result.flush)
    return result


def lost_output() -> OSError | None:
    """Write what is buffered and find out whether all of standard output has been written.

    Returns:
        Why a part is missing, such as a full disk; None if nothing is, or if whoever read it has gone.
    """
    flush()
    return getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)


def flush() -> None:
    """Write what is buffered, as before a process ends at once."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
