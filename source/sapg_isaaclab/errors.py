"""The ways in which a command may end early. Their messages are one line, meant for the person at the keyboard."""

from __future__ import annotations

import contextlib
import sys


class InputError(ValueError):
    """What was asked for cannot be done. The message says what came, what is allowed and what to type."""

    exit_code = 2
    reported = False
    """Whether the message is on the screen already."""


class TrainingError(RuntimeError):
    """A run that had started cannot go on: not-a-number from the environment, a full disk."""

    exit_code = 1
    reported = False
    """Whether the message is on the screen already."""


class ExportError(RuntimeError):
    """A policy cannot be written, or the written file acts otherwise than the policy."""

    exit_code = 1
    reported = False
    """Whether the message is on the screen already."""


class RankLostError(RuntimeError):
    """Another rank has gone in the middle of something that all do together."""

    exit_code = 1
    reported = False
    """Whether the message is on the screen already."""


ONE_LINE_ERRORS = (InputError, TrainingError, ExportError, RankLostError)
"""Errors that are shown as one line."""


def report(error: InputError | TrainingError | ExportError | RankLostError) -> int:
    """Print an error as one line, unless that has been done.

    Args:
        error: The error.

    Returns:
        Exit code for it.
    """
    if not error.reported:
        _say(f"error: {one_line(error)}")
    return error.exit_code


def warn(text: str) -> None:
    """Print a warning as one line.

    Args:
        text: What is wrong, and what happens now.
    """
    _say(f"warning: {' '.join(text.split())}")


def _say(line: str) -> None:
    # whoever reads along may have gone: that must not hide the error itself
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def one_line(error: BaseException, limit: int = 400) -> str:
    """Text of an error without line breaks.

    Args:
        error: The error.
        limit: Longest text in characters; what is beyond is cut.

    Returns:
        One line; the name of the error's class if it has no text.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
