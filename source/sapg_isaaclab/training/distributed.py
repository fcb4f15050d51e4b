"""Training on several ranks: joining them, errors that end all of them, and what a start must agree about.

Importing this module must not import skrl; see :func:`joined`.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.errors import InputError, TrainingError, one_line, report

START = "torchrun --standalone --nproc_per_node={} scripts/train.py --task ... --distributed"
"""How several ranks are started on one machine."""

_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started. Enter it before anything imports skrl.

    Host tensors travel by gloo, CUDA tensors by NCCL.

    Yields:
        This process among them; one process alone if torchrun started no others.

    Raises:
        InputError: If the environment names several processes but not how to find them.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1" or dist.is_initialized():
        yield Ranks.current()
        return
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise InputError(f"WORLD_SIZE is set to {size}, but not {', '.join(missing)}; start with {START.format(size)}")
    # On import, skrl makes a process group of its own where WORLD_SIZE is above 1, with NCCL, which fails without a
    # GPU. It is told that it is alone: averaging, seeding and writing over ranks are done by this package.
    del os.environ["WORLD_SIZE"]
    import skrl  # noqa: F401

    os.environ["WORLD_SIZE"] = size
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield Ranks.current()
    # not after an error: with a rank gone this could wait for ever, and the process ends anyway
    dist.destroy_process_group()


@contextlib.contextmanager
def all_or_none(ranks: Ranks) -> Iterator[None]:
    """What is inside succeeds on all ranks, or ends all of them with one line.

    Nothing inside may wait for another rank.

    Args:
        ranks: This process among all.

    Raises:
        InputError: If a rank raised it.
        TrainingError: If a rank raised another error. One that is not ours is shown with its traceback first.
    """
    if ranks.size == 1:
        yield
        return
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    told = None
    if own is not None:
        expected = isinstance(own, (InputError, TrainingError))
        if not expected:
            traceback.print_exception(own)
        told = (isinstance(own, InputError), one_line(own) if expected else f"{type(own).__name__}: {one_line(own)}")
    failures = {rank: failure for rank, failure in enumerate(ranks.gather(told)) if failure is not None}
    if not failures:
        return
    first, (_, text) = next(iter(failures.items()))
    everywhere = len(failures) == ranks.size and len({text for _, text in failures.values()}) == 1
    kind = InputError if all(is_input for is_input, _ in failures.values()) else TrainingError
    failure = kind(text if everywhere else f"rank {first}: {text}")
    # torchrun ends all ranks as soon as one has left: the line comes first
    if ranks.is_main:
        report(failure)
    ranks.gather(None)
    failure.reported = True
    raise failure from own


def require_same(ranks: Ranks, options: dict[str, Any]) -> None:
    """Make sure that all ranks were started alike.

    Args:
        ranks: This process among all.
        options: What must not differ, by name.

    Raises:
        InputError: On all ranks, if something does.
    """
    everyone = ranks.gather(options)
    with all_or_none(ranks):
        for rank, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs[name] != value:
                    raise InputError(
                        f"{name} is {value} on rank 0 and {theirs[name]} on rank {rank}; start all with one command"
                    )


def check(args: Any, ranks: Ranks) -> None:
    """Check that ``--distributed`` and the way this process was started agree.

    Args:
        args: Parsed arguments.
        ranks: This process among all.

    Raises:
        InputError: If they do not.
    """
    if args.distributed and any(name not in os.environ for name in _TORCHRUN):
        raise InputError(f"--distributed needs a process for every rank; start with {START.format(2)}")
    if ranks.size > 1 and not args.distributed:
        raise InputError(f"{ranks.size} processes were started, but --distributed is missing; add it or drop torchrun")
    if ranks.size > 1 and args.seed == -1:
        raise InputError("--seed -1 would draw another seed in every process; give a number with --distributed")


def check_resume(path: Any, saved: dict[str, Any], ranks: Ranks) -> None:
    """Check that a run goes on with as many ranks as it had: each has episodes and random numbers of its own.

    Args:
        path: The checkpoint file.
        saved: The checkpoint.
        ranks: This process among all.

    Raises:
        InputError: If it does not.
    """
    had = 1 + len(saved.get("other_ranks", []))
    if had != ranks.size:
        start = f"start with {START.format(had)}" if had > 1 else "start without torchrun and --distributed"
        raise InputError(
            f"the run to resume has {had} rank(s), this start has {ranks.size}; {start},"
            f" or start a new run from its policy with --init_from {path}"
        )


def device(configured: str, given: str | None) -> str:
    """Device of this process: the GPU of its local rank, or the CPU.

    Args:
        configured: Device of the environment's configuration.
        given: Device that was asked for on the command line, if any.

    Returns:
        ``cpu`` or ``cuda:INDEX``.

    Raises:
        InputError: If one GPU was asked for by its number, or there are fewer GPUs than processes.
    """
    if not configured.startswith("cuda"):
        return configured
    if given is not None and ":" in given:
        raise InputError(
            f"--device {given} names one GPU, but with --distributed every process takes that of its local rank;"
            " use --device cuda, or cpu"
        )
    local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= found:
        raise InputError(
            f"local rank {local} has no GPU: torch sees {found} CUDA device(s);"
            f" use {f'--nproc_per_node={found} or ' if found else ''}--device cpu"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def places(ranks: Ranks, device: str) -> str:
    """Where every rank runs, in words.

    Args:
        ranks: This process among all.
        device: Device of this process.

    Returns:
        Such as ``2: node1 cuda:0, node1 cuda:1``.
    """
    return f"{ranks.size}: {', '.join(ranks.gather(f'{os.uname().nodename} {device}'))}"
