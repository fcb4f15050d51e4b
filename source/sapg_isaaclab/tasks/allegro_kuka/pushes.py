"""Random pushes on the objects."""

from __future__ import annotations

import math
from typing import Any

import torch


class Pushes:
    """Forces that come at random and fade; they act at the centre of mass, in the object's frame."""

    def __init__(
        self, target: Any, strength: torch.Tensor, *, probability: tuple[float, float], decay: float, device: str
    ):
        """Begin without any.

        Args:
            target: The object, a rigid object of the scene.
            strength: Standard deviation of a push on each axis [N], shape (N, 1).
            probability: Range of the probability of a push in a control step.
            decay: Factor by which a push fades in a control step.
            device: Device of the tensors.
        """
        self._target, self._strength, self._decay = target, strength, decay
        self._log_probability = tuple(math.log(limit) for limit in probability)
        self.force = torch.zeros(len(strength), 3, device=device)
        """Forces in effect [N], shape (N, 3)."""
        self.probability = torch.zeros(len(strength), device=device)
        """Probability of a push in a control step of the present episode, shape (N,)."""
        self.steady: torch.Tensor | None = None
        """Forces in the world that always act [N], shape (N, 1, 3)."""

    def step(self) -> None:
        """Let pushes fade, start new ones, and hand them to the engine for the coming control step."""
        self.force.mul_(self._decay)
        pushed = torch.rand_like(self.probability) < self.probability
        push = self._strength * torch.randn_like(self.force)
        self.force.copy_(torch.where(pushed.unsqueeze(-1), push, self.force))
        self._target.permanent_wrench_composer.set_forces_and_torques_index(forces=self.force.unsqueeze(1))
        if self.steady is not None:
            self._target.permanent_wrench_composer.add_forces_and_torques_index(forces=self.steady, is_global=True)

    def restart(self, rows: torch.Tensor) -> None:
        """Begin episodes: without a push, and with a new probability, log-uniform in its range.

        Args:
            rows: Environments, int64, shape (n,).
        """
        self.force.index_fill_(0, rows, 0.0)
        low, high = self._log_probability
        share = torch.rand(len(rows), device=self.force.device)
        self.probability.index_copy_(0, rows, (low + (high - low) * share).exp())
