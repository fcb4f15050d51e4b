"""Which environment belongs to which policy. Pure index arithmetic."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from sapg_isaaclab.agents.ranks import ALONE, Ranks

EntropySchedule = Literal["official", "paper"]


@dataclasses.dataclass(frozen=True)
class BlockLayout:
    """N environments in M contiguous blocks of B = N / M; block j is acted in by policy j.

    Where policies share nothing, the M blocks may be spread over W processes: each then holds M / W of them, those of
    process w being w M / W and so on, in N = B M / W environments of its own.

    The leader is block 0, as in the paper (its policy 1). The official code has it last: its block b is block
    M - 1 - b here (see :meth:`to_official`).

    Attributes:
        num_envs: Number of environments N of this process.
        num_blocks: Number of blocks M, of all processes together.
        leader: Index of the leader's block.
        spread: Processes that the blocks are spread over; by default each has all of them.

    Raises:
        ValueError: If there is no block, the leader is not one of them, processes cannot share the blocks equally, or
            blocks the environments.
    """

    num_envs: int
    num_blocks: int
    leader: int = 0
    spread: Ranks = ALONE

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.num_blocks < 1:
            raise ValueError(f"num_blocks is {self.num_blocks}; it must be at least 1 (1 is plain PPO)")
        if not 0 <= self.leader < self.num_blocks:
            raise ValueError(f"leader is {self.leader}; it must be one of the blocks 0 to {self.num_blocks - 1}")
        if self.num_blocks % self.spread.size:
            nearest = " or ".join(map(str, _multiples(self.num_blocks, self.spread.size)))
            raise ValueError(
                f"num_blocks is {self.num_blocks}, which {self.spread.size} ranks cannot share equally;"
                f" use agent.num_blocks={nearest}, or another number of ranks"
            )
        here = len(self.held)
        if self.num_envs < 1 or self.num_envs % here:
            nearest = " or ".join(map(str, _multiples(self.num_envs, here)))
            raise ValueError(
                f"num_envs is {self.num_envs}, which {here} blocks cannot share equally; use --num_envs {nearest}"
            )

    @property
    def held(self) -> range:
        """Blocks of this process."""
        here = self.num_blocks // self.spread.size
        return range(self.spread.rank * here, (self.spread.rank + 1) * here)

    @property
    def block_size(self) -> int:
        """Number of environments B in a block."""
        return self.num_envs // len(self.held)

    @property
    def followers(self) -> tuple[int, ...]:
        """Every block but the leader's, in ascending order."""
        return tuple(block for block in range(self.num_blocks) if block != self.leader)

    def slice(self, block: int) -> slice:
        """Environments of a block.

        Args:
            block: Block index.

        Returns:
            Contiguous slice into the environment axis.

        Raises:
            ValueError: If there is no such block, or another process holds it.
        """
        self.check_block(block)
        if block not in self.held:
            raise ValueError(f"block {block} is held by rank {self.holder(block)}, this is rank {self.spread.rank}")
        first = (block - self.held.start) * self.block_size
        return slice(first, first + self.block_size)

    def holder(self, block: int) -> int:
        """Which of the processes that the blocks are spread over holds a block.

        Args:
            block: Block index.

        Returns:
            Number of the process.
        """
        return block // len(self.held)

    def block_of(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Block of each environment.

        Args:
            env_ids: Environment indices, integer. Any shape.

        Returns:
            Block indices of the same shape.

        Raises:
            ValueError: If an index is not one of the N environments.
        """
        if env_ids.numel() and (int(env_ids.min()) < 0 or int(env_ids.max()) >= self.num_envs):
            raise ValueError(f"environment ids must lie in 0 to {self.num_envs - 1}")
        return self.held.start + env_ids // self.block_size

    def check_block(self, block: int) -> None:
        """Refuse an index that is not a block (the official code silently takes it for its first block).

        Args:
            block: Block index.

        Raises:
            ValueError: If there is no such block.
        """
        if not 0 <= block < self.num_blocks:
            raise ValueError(
                f"block {block} does not exist; this policy has blocks 0 (leader) to {self.num_blocks - 1}"
            )

    def to_official(self, block: int) -> int:
        """Index of the same policy in the official code, where the leader comes last.

        Args:
            block: Block index here.

        Returns:
            Block index in the official code, for a leader of index 0.
        """
        return self.num_blocks - 1 - block

    def entropy_coefs(self, scale: float, schedule: EntropySchedule) -> torch.Tensor:
        """Entropy coefficient of every policy: none for the leader, growing with the distance from it.

        Args:
            scale: The paper's sigma, or ``coef_scale`` of the official code.
            schedule: ``paper`` for sigma (i - 1) of section 4.5; ``official`` for 0.5 scale (i - 1) / (M - 1), ten
                times less with six blocks. Here i counts policies from the leader, i = 1.

        Returns:
            Coefficients of shape (M,). With one block the only coefficient is ``scale`` itself: PPO's entropy bonus.

        Raises:
            ValueError: If the schedule is unknown.
        """
        if schedule not in ("official", "paper"):
            raise ValueError(f"entropy_schedule is {schedule!r}; it must be 'official' or 'paper'")
        if self.num_blocks == 1:
            return torch.tensor([scale])
        steps = torch.tensor([(block - self.leader) % self.num_blocks for block in range(self.num_blocks)])
        return steps * (scale if schedule == "paper" else 0.5 * scale / (self.num_blocks - 1))


def _multiples(number: int, of: int) -> list[int]:
    """The multiples next to a number, above 0."""
    below = number // of * of
    return [multiple for multiple in (below, below + of) if multiple > 0]
