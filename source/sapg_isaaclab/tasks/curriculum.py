"""Tightens the tolerance of a task as its policies get better."""

from __future__ import annotations

from typing import Any

import torch


class ToleranceCurriculum:
    """Multiplies a tolerance by a factor whenever enough goals are reached (paper, Section 5; official code).

    There is one tolerance for all environments, or with ``groups`` one for each of G contiguous groups of them, which
    the group's own successes tighten.

    Everything is a tensor on the simulation device, so that asking and tightening never waits for the GPU.
    """

    def __init__(
        self,
        *,
        initial: float,
        final: float,
        factor: float = 0.9,
        interval: int = 3000,
        threshold: float = 3.0,
        groups: int | None = None,
        device: str = "cpu",
    ):
        """Start at the initial tolerance.

        Args:
            initial: Tolerance at the start, in the unit of the task.
            final: Smallest tolerance; equal to ``initial`` for none at all.
            factor: Factor of one tightening, in (0, 1).
            interval: Control steps that must have passed since the last change.
            threshold: Mean successes of finished episodes from which on the tolerance is tightened.
            groups: Number of groups G with a tolerance each; None for one tolerance.
            device: Device of the tensors.

        Raises:
            ValueError: If the numbers make no curriculum.
        """
        if not 0.0 < final <= initial:
            raise ValueError(f"curriculum from {initial} to {final} is not allowed; use 0 < final <= initial")
        if not 0.0 < factor < 1.0:
            raise ValueError(f"curriculum factor {factor} is not allowed; use a number between 0 and 1")
        if interval < 1:
            raise ValueError(f"curriculum interval {interval} is not allowed; use at least 1 step")
        self.interval, self.factor, self.threshold = interval, factor, threshold
        self._initial = torch.tensor(initial, device=device)
        self._final = torch.tensor(final, device=device)
        self._constant = initial == final
        self.groups = groups
        shape = () if groups is None else (groups,)
        self.tolerance = self._initial.expand(shape).clone()
        """Tolerance in force, 0-dim, or that of every group, shape (G,); changed in place."""
        self._last_change = torch.zeros(shape, dtype=torch.long, device=device)

    def update(self, step: int, successes: torch.Tensor) -> None:
        """Tighten if it is time.

        Args:
            step: Control steps since the start of training.
            successes: Successes in the last finished episode of each environment that counts, shape (n,); with groups
                those of all environments, group after group.
        """
        mean = successes.mean() if self.groups is None else successes.view(self.groups, -1).mean(-1)
        due = step - self._last_change >= self.interval
        tighten = due & (mean >= self.threshold) & (self.tolerance > self._final)
        # in place: steps taken under torch.inference_mode must not leave inference tensors behind
        self.tolerance.copy_(
            torch.where(tighten, torch.maximum(self.tolerance * self.factor, self._final), self.tolerance)
        )
        self._last_change.masked_fill_(tighten, step)

    def progress(self) -> torch.Tensor:
        """Share of the way from the initial to the final tolerance, in [0, 1]; 1 where there is no way.

        Returns:
            Shape of :attr:`tolerance`.
        """
        if self._constant:
            return torch.ones_like(self.tolerance)
        return (self._initial - self.tolerance) / (self._initial - self._final)

    def true_objective(self, successes: torch.Tensor) -> torch.Tensor:
        """What a population is ranked by: tolerance first, successes once the final tolerance is in force.

        Args:
            successes: Successes in the last finished episode, any shape; with groups of all environments, shape (N,).

        Returns:
            ``0.01 * successes + progress`` before the final tolerance, ``successes + progress`` from then on.
        """
        weight = torch.where(self.tolerance > self._final, 0.01, 1.0)
        return self._spread(weight, successes) * successes + self._spread(self.progress(), successes)

    def of_environments(self, like: torch.Tensor) -> torch.Tensor:
        """Tolerance to hold against numbers of all environments.

        Args:
            like: Those numbers, shape (N,).

        Returns:
            The tolerance, 0-dim; with groups that of every environment, shape (N,).
        """
        return self._spread(self.tolerance, like)

    def _spread(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Numbers of the groups, shape (G,), repeated for their environments, shape (N,)."""
        return values if self.groups is None else values.repeat_interleave(len(like) // self.groups)

    def copy(self, source: int, target: int) -> None:
        """Let a group take over the tolerance of another, and the step of its last change.

        Args:
            source: Group to copy.
            target: Group that is overwritten.
        """
        for values in (self.tolerance, self._last_change):
            values[target] = values[source]

    def state_dict(self) -> dict[str, Any]:
        """Tolerance and step of its last change, numbers or with groups lists of them."""
        return {"tolerance": self.tolerance.tolist(), "last_change": self._last_change.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Args:
            state: The saved numbers.

        Raises:
            KeyError: If one is missing.
        """
        self.tolerance.copy_(torch.as_tensor(state["tolerance"]))
        self._last_change.copy_(torch.as_tensor(state["last_change"]))
