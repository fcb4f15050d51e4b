"""Whether files can be written where the command line wants them, found out before there is any."""

from __future__ import annotations

import os
import pathlib

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.files import try_file


def check_file(path: pathlib.Path, option: str) -> None:
    """Make sure that a file can be written.

    Args:
        path: The file.
        option: Command-line option that named it.

    Raises:
        InputError: If it is a folder, or its folder does not exist or cannot be written.
    """
    folder = path.absolute().parent
    if os.path.isdir(path):
        raise InputError(f"{option} {path} is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise InputError(f"{option} {path}: there is no folder {folder}; create it first")
    try:
        try_file(path.absolute())
    except OSError as error:
        raise InputError(f"{option} {path}: cannot write in {folder}: {error.strerror}") from error


def check_new_file(path: pathlib.Path, option: str) -> None:
    """Make sure that a file can be written and that nothing is overwritten.

    Args:
        path: The file.
        option: Command-line option that named it.

    Raises:
        InputError: If it exists or cannot be written.
    """
    if os.path.exists(path):
        raise InputError(f"{option} {path} exists and is not overwritten; choose another name or remove it")
    check_file(path, option)
