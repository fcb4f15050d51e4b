"""Numbers of an environment that are not finite: found without stalling the device, and kept to look into."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import torch

from sapg_isaaclab.errors import TrainingError, warn
from sapg_isaaclab.runs.files import write_atomically

_WHAT = {"rewards": "reward", "next_observations": "observation", "next_states": "state for the critic"}


class FiniteCheck:
    """Remembers, for every environment, its first step with a number that is not finite.

    All is kept on the device: asking after every step would make the host wait for it.
    """

    def __init__(self, num_envs: int, device: str | torch.device) -> None:
        """Begin with nothing found.

        Args:
            num_envs: Number of environments N.
            device: Device of the environment's tensors.
        """
        self._step = torch.full((num_envs,), -1, device=device)
        self._first: dict[str, torch.Tensor] = {}

    def step(self, index: int, **seen: torch.Tensor | None) -> None:
        """Take in one environment step.

        Args:
            index: Step within the iteration.
            **seen: What went in and came out, each of shape (N, ...): ``observations``, ``actions``, ``rewards``,
                ``next_observations`` and, if the task has them, ``states`` and ``next_states``.
        """
        given = {name: value for name, value in seen.items() if value is not None}
        bad = torch.zeros_like(self._step, dtype=torch.bool)
        for name in _WHAT.keys() & given.keys():
            bad |= ~torch.isfinite(given[name]).flatten(1).all(1)
        new = bad & (self._step < 0)
        self._step.masked_fill_(new, index)
        for name, value in given.items():
            first = self._first.setdefault(name, torch.zeros_like(value))
            torch.where(new.view(-1, *[1] * (value.ndim - 1)), value, first, out=first)

    def raise_if_found(self, iteration: int, folder: pathlib.Path | None, rank: int = 0) -> None:
        """Stop training if something was found.

        Args:
            iteration: The iteration under way, counted from 1.
            folder: Where to write what the environments saw; None for nowhere.
            rank: Number of this process, part of the file's name.

        Raises:
            TrainingError: If something was found. Its message names the file.
        """
        ids = (self._step >= 0).nonzero().flatten()
        if not len(ids):
            return
        first: dict[str, Any] = {name: value[ids].cpu().numpy() for name, value in self._first.items()}
        what = [word for name, word in _WHAT.items() if name in first and not np.isfinite(first[name]).all()]
        shown = ", ".join(map(str, ids[:5].tolist())) + (", ..." if len(ids) > 5 else "")
        text = (
            f"the environment returned a {' and a '.join(what)} that is not finite (NaN or infinite) in iteration"
            f" {iteration}; training stopped, the last checkpoint is intact; {len(ids)} of {len(self._step)}"
            f" environments: {shown}"
        )
        first |= {"env_ids": ids.cpu().numpy(), "steps": self._step[ids].cpu().numpy()}
        raise TrainingError(text + _dump(folder, "not_finite", iteration, rank, first))


def report_resets(task: Any, iteration: int, folder: pathlib.Path | None, rank: int = 0) -> None:
    """Tell of the environments that a task had to put back in an iteration because they had broken down.

    Args:
        task: The task; one without a :class:`~sapg_isaaclab.tasks.nan_guard.NanGuard` has nothing to tell.
        iteration: The iteration under way, counted from 1.
        folder: Where to write what the first of them saw; None for nowhere.
        rank: Number of this process, part of the file's name.

    Raises:
        TrainingError: If the task's options say that training ends there.
    """
    guard = getattr(task, "nan_guard", None)
    report = guard.report() if guard is not None else None
    if report is None or not report.new:
        return
    text = (
        f"{report.new} of {guard.num_envs} environments had a physics state or actions that are not finite (NaN or"
        f" infinite) in iteration {iteration}"
    )
    kept = _dump(folder, "nan_resets", iteration, rank, report.kept) if report.kept else ""
    if report.reason:
        raise TrainingError(f"{text}: {report.reason}; training stopped, the last checkpoint is intact{kept}")
    if report.kept:
        warn(f"{text}; they began new episodes{kept}")


def _dump(folder: pathlib.Path | None, name: str, iteration: int, rank: int, arrays: dict[str, Any]) -> str:
    """Write what environments saw; returns what to say of it."""
    if folder is None:
        return ""
    path = folder / f"{name}_{iteration}{f'_rank{rank}' if rank else ''}.npz"
    try:
        write_atomically(path, lambda file: np.savez(file, **arrays))
    except OSError as error:
        return f"; what they saw could not be written ({error})"
    return f"; what they saw: {path}"
