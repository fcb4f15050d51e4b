"""Recurrent states of a rollout: only those that an update reads."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout


def episode_begins(rollout: TensorDict) -> torch.Tensor:
    """Whether an episode begins with a step, so that the recurrent state is zeroed before it.

    Args:
        rollout: ``terminated`` and ``truncated``, of shape (T, N, 1).

    Returns:
        Boolean, shape (T, N); never at t = 0, before which the state is zeroed already.
    """
    done = (rollout["terminated"] | rollout["truncated"]).squeeze(-1)
    return torch.cat((torch.zeros_like(done[:1]), done[:-1]))


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
        parts, units = shape
        self.starts = torch.zeros(parts, steps // length, layout.num_envs, units, device=device)
        self._every = torch.zeros(0, parts, steps, layout.block_size, units, device=device)
        self._kept: list[int] = []

    def begin(self, kept: list[int]) -> None:
        """Begin a rollout.

        Args:
            kept: Blocks of which the state before every step is kept.
        """
        if len(kept) != len(self._every):
            self._every = self._every.new_zeros(len(kept), *self._every.shape[1:])
        self._kept = kept

    def record(self, t: int, state: torch.Tensor) -> None:
        """Keep what is needed of the states before a step.

        Args:
            t: Index of the step in the rollout.
            state: States of all environments. Shape (K, N, H).
        """
        if t % self.length == 0:
            self.starts[:, t // self.length].copy_(state)
        for slot, block in enumerate(self._kept):
            self._every[slot, :, t].copy_(state[:, self.layout.slice(block)])

    def before_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """States before rows that begin a sequence.

        Args:
            rows: Index t N + n of rows whose t is a multiple of L. Shape (S,).

        Returns:
            States of shape (K, S, H).
        """
        envs = self.layout.num_envs
        return self.starts[:, rows // envs // self.length, rows % envs]

    def sequences_of(self, block: int) -> torch.Tensor:
        """States before the sequences of a block, environment by environment.

        Args:
            block: Block index.

        Returns:
            States of shape (K, B T / L, H).
        """
        return self.starts[:, :, self.layout.slice(block)].transpose(1, 2).flatten(1, 2)

    def of_block(self, block: int) -> torch.Tensor:
        """States before every step of a kept block.

        Args:
            block: Block index.

        Returns:
            States of shape (K, T, B, H).
        """
        return self._every[self._kept.index(block)]
