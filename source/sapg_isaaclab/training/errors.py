"""The two ways in which a command may end early. Their messages are one line, meant for the person at the keyboard."""

from __future__ import annotations


class InputError(ValueError):
    """What was asked for cannot be done. The message says what came, what is allowed and what to type."""

    exit_code = 2


class TrainingError(RuntimeError):
    """A run that had started cannot go on: not-a-number from the environment, a full disk."""

    exit_code = 1


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
