"""Calling a function in a process of its own, as what measures a simulator must: each starts from nothing."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from sapg_isaaclab import streams
from sapg_isaaclab.errors import InputError, TrainingError, one_line


def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process, which ends with this one.

    Args:
        function: Of a module, so that the process finds it.
        args: Its arguments.

    Returns:
        What it returned.

    Raises:
        InputError: If it raised a ValueError: what was asked for is not possible.
        TrainingError: If it ended in another way; its traceback is on the screen.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, args), daemon=True)
    process.start()
    sender.close()
    try:
        error, result = receiver.recv()
    except EOFError:
        process.join()
        raise TrainingError(f"the process ended with code {process.exitcode}; see above") from None
    finally:
        process.kill()  # has nothing left to do, or this process is being interrupted
        process.join()
    if error is not None:
        raise InputError(error)
    return result


def _answer(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the other process ends this one
    streams.protect()
    try:
        answer = None, function(*args)
    except ValueError as error:
        answer = one_line(error), None
    streams.flush()
    sender.send(answer)
