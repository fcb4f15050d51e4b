"""Means of what a task writes into ``extras["log"]``, over the steps of an iteration and over all ranks."""

from __future__ import annotations

import statistics
from itertools import chain
from typing import Any

import torch

from sapg_isaaclab.agents.ranks import Ranks


class EnvLog:
    """Adds up scalars on the device; :meth:`finish_iteration` makes one transfer for each set of tags."""

    def __init__(self, ranks: Ranks) -> None:
        """Begin with nothing.

        Args:
            ranks: Processes whose numbers are averaged.
        """
        self._ranks = ranks
        self._totals: dict[tuple[str, ...], list[Any]] = {}

    def step(self, log: dict[str, Any] | None) -> None:
        """Take in one environment step.

        Args:
            log: Values by tag; those that are not tensors with one element are left out.
        """
        scalars = {tag: value for tag, value in (log or {}).items() if getattr(value, "numel", lambda: 0)() == 1}
        if scalars:
            values = torch.stack([value.detach().reshape(()).float() for value in scalars.values()])
            total = self._totals.setdefault(tuple(scalars), [torch.zeros_like(values), 0])
            total[0] += values
            total[1] += 1

    def finish_iteration(self) -> dict[str, float]:
        """Means since the last call. All ranks must ask for them.

        Returns:
            Value by tag; a tag without a group gets the group ``Env``.
        """
        own: dict[str, float] = {}
        for tags, (total, count) in self._totals.items():
            own.update(zip((tag if "/" in tag else f"Env/{tag}" for tag in tags), (total / count).tolist()))
        self._totals = {}
        rows = self._ranks.gather(own)
        return {tag: statistics.fmean(each[tag] for each in rows if tag in each) for tag in dict.fromkeys(chain(*rows))}
