"""Rollout memory partitioned by policy block."""

from __future__ import annotations

from typing import Any

import torch
from skrl.memories.torch import Memory
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout


class BlockMemory(Memory):
    """A skrl memory whose tensors live in one TensorDict of batch size [T, N].

    The environment axis holds M contiguous blocks of B environments, so one block is a view and costs nothing::

        steps   environments 0 .. N-1
          0     | block 0 | block 1 | ... | block M-1 |
          :     |  B envs |  B envs |     |   B envs  |
         T-1    |         |         |     |           |

    ``rollout`` is the TensorDict [T, N], ``block(i)`` its view [T, B], ``blocks()`` the view [T, M, B]. Flattened rows
    (``tensors_view``, ``sample``) are step-major: row t N + n is environment n at step t.

    Args:
        memory_size: Number of steps T.
        num_envs: Number of environments N.
        num_blocks: Number of blocks M; N must be divisible by it.
        device: Where the tensors live.

    Raises:
        ValueError: If the blocks cannot share the environments equally.
    """

    def __init__(
        self, memory_size: int, num_envs: int, num_blocks: int = 1, device: torch.device | str | None = None
    ) -> None:
        super().__init__(memory_size=memory_size, num_envs=num_envs, device=device)
        self.layout = BlockLayout(num_envs, num_blocks)
        self.rollout = TensorDict({}, batch_size=[memory_size, num_envs], device=self.device)

    def create_tensor(self, name, *, size, dtype=None, keep_dimensions=False) -> bool:
        """Create a tensor (T, N, size), filled with NaN where it is floating point. See skrl's Memory.

        Args:
            name: Name of the tensor.
            size: Number of columns or a Gymnasium space.
            dtype: Data type; torch's default if not given.
            keep_dimensions: Whether ``size`` is a list of dimensions to keep.

        Returns:
            Whether the tensor is new.
        """
        created = super().create_tensor(name, size=size, dtype=dtype, keep_dimensions=keep_dimensions)
        if created:
            # the same storage: skrl writes through `tensors`, everybody else reads the TensorDict
            self.rollout.set(name, self.tensors[name], inplace=False)
        return created

    def block(self, block: int) -> TensorDict:
        """Rollout of one block.

        Args:
            block: Block index.

        Returns:
            View of batch size [T, B].

        Raises:
            ValueError: If there is no such block.
        """
        return self.rollout[:, self.layout.slice(block)]

    def blocks(self) -> TensorDict:
        """The whole rollout by block.

        Returns:
            View of batch size [T, M, B].
        """
        return self.rollout.view(self.memory_size, self.layout.num_blocks, self.layout.block_size)

    def sample(
        self, names: list[str], *, batch_size: int, mini_batches: int = 1, sequence_length: int = 1
    ) -> list[list[Any]]:
        """Sample rows without replacement. See skrl's Memory.

        Args:
            names: Names of the tensors.
            batch_size: Number of rows, or of sequences when ``sequence_length`` is above 1.
            mini_batches: Number of parts to return them in.
            sequence_length: Consecutive steps of one environment that stay together.

        Returns:
            For each part the tensors in the order of the names, None for those that do not exist.

        Raises:
            ValueError: If a sequence is longer than the filled part of the memory.
        """
        steps = len(self) // self.num_envs
        if sequence_length > max(steps, 1):
            raise ValueError(f"sequence_length is {sequence_length}, but only {steps} steps are in memory")
        starts = len(self) - (sequence_length - 1) * self.num_envs
        chosen = torch.randperm(starts, device=self.device)[:batch_size]
        offsets = torch.arange(sequence_length, device=self.device) * self.num_envs
        self.sampling_indexes = (chosen[:, None] + offsets).flatten()
        parts = self.sampling_indexes.tensor_split(mini_batches)
        return [[self.tensors_view[n][part] if n in self.tensors else None for n in names] for part in parts]
