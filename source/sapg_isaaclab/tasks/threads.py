"""How many threads the physics engine and torch get."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from isaaclab.physics import PhysxAutoCfg
from isaaclab_ov.physics import OvPhysxCfg


def cores_of_rank() -> int:
    """Cores that this process may use, shared evenly with the other ranks on the machine.

    Returns:
        Number of cores the scheduler allows this process, divided by ``LOCAL_WORLD_SIZE``, which ``torchrun`` sets; at
        least 1.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, allowed // max(1, int(ranks) if ranks.isdigit() else 1))


def check_threads(cfg: Any) -> None:
    """Check the numbers of threads that a configuration asks for.

    Args:
        cfg: Has ``physx_threads`` and ``torch_threads``.

    Raises:
        ValueError: If one is neither None nor a whole number of at least 1.
    """
    for name, default in (("physx_threads", "one for each core"), ("torch_threads", "at most one for two cores")):
        threads = getattr(cfg, name)
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise ValueError(f"{name}={threads!r} is not allowed; give at least 1, or None for {default}")


def set_torch_threads(threads: int | None, device: str) -> None:
    """Give torch a number of threads, in all of this process.

    Args:
        threads: The number. None leaves torch as it is, but with at most half of :func:`cores_of_rank` where physics
            runs on the CPU: idle threads of torch spin, and PhysX waits for the cores. ``OMP_NUM_THREADS`` goes
            before that.
        device: Device of the simulation.
    """
    if threads is None and device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), max(1, cores_of_rank() // 2))
    if threads is not None:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def physx_threads(physics: Any, threads: int | None) -> Iterator[None]:
    """While this is open, PhysX without Isaac Sim starts with a given number of threads; Isaac Lab 3.0.0 says 8.

    Args:
        physics: The configuration's physics; with other engines nothing is done.
        threads: The number, None for :func:`cores_of_rank`.
    """
    if not isinstance(physics, (OvPhysxCfg, PhysxAutoCfg)):
        yield
        return
    import ovphysx

    number, config = threads or cores_of_rank(), ovphysx.PhysXConfig

    def with_threads(**options: Any) -> Any:
        return config(**{**options, "num_threads": number})

    ovphysx.PhysXConfig = with_threads
    try:
        yield
    finally:
        ovphysx.PhysXConfig = config
