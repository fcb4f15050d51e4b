"""Numbers of an environment that are not finite: found without stalling the device, and kept to look into."""

from __future__ import annotations

import pathlib

import numpy as np
import torch

from sapg_isaaclab.errors import TrainingError

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
        first = {name: value[ids].cpu().numpy() for name, value in self._first.items()}
        what = [word for name, word in _WHAT.items() if name in first and not np.isfinite(first[name]).all()]
        shown = ", ".join(map(str, ids[:5].tolist())) + (", ..." if len(ids) > 5 else "")
        text = (
            f"the environment returned a {' and a '.join(what)} that is not finite (NaN or infinite) in iteration"
            f" {iteration}; training stopped, the last checkpoint is intact; {len(ids)} of {len(self._step)}"
            f" environments: {shown}"
        )
        if folder is not None:
            path = folder / f"not_finite_{iteration}{f'_rank{rank}' if rank else ''}.npz"
            try:
                with open(path, "wb") as file:
                    np.savez(file, env_ids=ids.cpu().numpy(), steps=self._step[ids].cpu().numpy(), **first)
                text += f"; what they saw: {path}"
            except OSError as error:
                text += f"; what they saw could not be written ({error})"
        raise TrainingError(text)
