"""Tightens the tolerance of a task as its policies get better."""

from __future__ import annotations

import torch


class ToleranceCurriculum:
    """Multiplies a tolerance by a factor whenever enough goals are reached (paper, Section 5; official code).

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
        device: str = "cpu",
    ):
        """Start at the initial tolerance.

        Args:
            initial: Tolerance at the start, in the unit of the task.
            final: Smallest tolerance; equal to ``initial`` for none at all.
            factor: Factor of one tightening, in (0, 1).
            interval: Control steps that must have passed since the last change.
            threshold: Mean successes of finished episodes from which on the tolerance is tightened.
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
        self.tolerance = self._initial.clone()
        """Tolerance in force, 0-dim; changed in place."""
        self._last_change = torch.zeros((), dtype=torch.long, device=device)

    def update(self, step: int, successes: torch.Tensor) -> None:
        """Tighten if it is time.

        Args:
            step: Control steps since the start of training.
            successes: Successes in the last finished episode of each environment that counts, shape (n,).
        """
        due = step - self._last_change >= self.interval
        tighten = due & (successes.mean() >= self.threshold) & (self.tolerance > self._final)
        # in place: steps taken under torch.inference_mode must not leave inference tensors behind
        self.tolerance.copy_(
            torch.where(tighten, torch.maximum(self.tolerance * self.factor, self._final), self.tolerance)
        )
        self._last_change.masked_fill_(tighten, step)

    def progress(self) -> torch.Tensor:
        """Share of the way from the initial to the final tolerance, 0-dim, in [0, 1]; 1 where there is no way."""
        if self._constant:
            return torch.ones_like(self._initial)
        return (self._initial - self.tolerance) / (self._initial - self._final)

    def true_objective(self, successes: torch.Tensor) -> torch.Tensor:
        """What a population is ranked by: tolerance first, successes once the final tolerance is in force.

        Args:
            successes: Successes in the last finished episode, any shape.

        Returns:
            ``0.01 * successes + progress`` before the final tolerance, ``successes + progress`` from then on.
        """
        weight = torch.where(self.tolerance > self._final, 0.01, 1.0)
        return weight * successes + self.progress()

    def state_dict(self) -> dict[str, float | int]:
        """Tolerance and step of its last change."""
        return {"tolerance": self.tolerance.item(), "last_change": int(self._last_change.item())}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Take over what :meth:`state_dict` returned.

        Args:
            state: The saved numbers.

        Raises:
            KeyError: If one is missing.
        """
        self.tolerance.fill_(state["tolerance"])
        self._last_change.fill_(state["last_change"])
