"""Which code a run was made by: a fingerprint of everything of this package that decides its numbers."""

from __future__ import annotations

import functools
import hashlib
import pathlib

import sapg_isaaclab

DECISIVE = (
    "agents",
    "assets",
    "tasks",
    "training",
    "experiments/trap_env.py",
    "experiments/point_envs.py",
    "experiments/door_chain.py",
    "experiments/point_runs.py",
)
"""What is part of it: not the commands, the documentation, or what is drawn from a run afterwards."""


@functools.cache
def code_version() -> str:
    """Fingerprint of the package as it lies on disk, whether or not it is a checkout.

    A commit would say less, because of changes that are not committed, and more, because of those that decide nothing.

    Returns:
        Twelve hexadecimal digits; the same for the same files.
    """
    package = pathlib.Path(sapg_isaaclab.__file__).parent
    digest = hashlib.sha256()
    for place in map(package.joinpath, DECISIVE):
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
