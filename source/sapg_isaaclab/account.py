"""Accounts that other libraries do not expect: a user without a name, as in many containers, or without a home."""

from __future__ import annotations

import contextlib
import getpass
import os
import pathlib
import tempfile

CACHES = (
    "XDG_CACHE_HOME",
    "WARP_CACHE_PATH",
    "MPLCONFIGDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "WANDB_CACHE_DIR",
    "WANDB_CONFIG_DIR",
    "WANDB_DATA_DIR",
)
"""Variables by which libraries are told where to keep what they compile and download."""


def complete() -> None:
    """Name the user and a place for caches where the system knows none. Variables that are set stay as they are.

    To be called before other libraries are imported.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no entry for this number in the list of users
        os.environ["USER"] = f"user{os.getuid()}"
    home = os.path.expanduser("~")
    if os.path.isabs(home) and os.access(home, os.W_OK | os.X_OK):
        return
    with contextlib.suppress(OSError):  # no place to write at all: whoever needs one says so
        folder = pathlib.Path(tempfile.gettempdir()) / f"sapg_isaaclab_{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return  # somebody else's
        if not os.path.isabs(home):
            os.environ["HOME"] = str(folder)  # otherwise some would make a folder that is called ~
        for name in CACHES:
            os.environ.setdefault(name, str(folder / name.lower()))
