"""Recurrent states of a rollout: only those that an update reads."""

from __future__ import annotations

import torch

from sapg_isaaclab.agents.blocks import BlockLayout


class RolloutStates:
    """Recurrent states before the first step of every sequence, and before every step of chosen blocks.

    Keeping the state of every step of every environment would take T / L times as much as the sequence starts do.

    Args:
        steps: Steps T of a rollout.
        length: Steps L of a sequence.
        layout: Blocks.
        shape: Shape (K, H) of the state of an environment.
        device: Where states live.
    """

    def __init__(
        self, steps: int, length: int, layout: BlockLayout, shape: tuple[int, int], device: torch.device
    ) -> None:
        self.length, self.layout = length, layout
        self.starts = torch.zeros(steps // length, layout.num_envs, *shape, device=device)
        self._every = torch.zeros(steps, 0, layout.block_size, *shape, device=device)
        self._kept: list[int] = []

    def begin(self, kept: list[int]) -> None:
        """Begin a rollout.

        Args:
            kept: Blocks of which the state before every step is kept.
        """
        if len(kept) != self._every.shape[1]:
            steps, _, *rest = self._every.shape
            self._every = self._every.new_zeros(steps, len(kept), *rest)
        self._kept = kept

    def record(self, t: int, state: torch.Tensor) -> None:
        """Keep what is needed of the states before a step.

        Args:
            t: Index of the step in the rollout.
            state: States of all environments. Shape (N, K, H).
        """
        if t % self.length == 0:
            self.starts[t // self.length].copy_(state)
        for slot, block in enumerate(self._kept):
            self._every[t, slot].copy_(state[self.layout.slice(block)])

    def before_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """States before rows that begin a sequence.

        Args:
            rows: Index t N + n of rows whose t is a multiple of L. Shape (S,).

        Returns:
            States of shape (S, K, H).
        """
        envs = self.layout.num_envs
        return self.starts[rows // envs // self.length, rows % envs]

    def of_block(self, block: int) -> torch.Tensor:
        """States before every step of a kept block.

        Args:
            block: Block index.

        Returns:
            States of shape (T, B, K, H).
        """
        return self._every[:, self._kept.index(block)]
