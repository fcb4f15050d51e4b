"""Return, length and successes of finished episodes, for every block, without a host synchronisation per step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.block_tags import block_tags

WINDOW = 3000
"""Number of newest finished episodes of a block that its means run over."""

_COLUMNS = ("return", "length", "successes")
_BLOCK_TAGS = ("Block_{}/return", "Block_{}/length", "Block_{}/successes")


class EpisodeTracker:
    """Follows the episodes of all environments.

    During an iteration everything stays on the device; :meth:`finish_iteration` makes the one transfer. Rewards are
    the environment's own, before any scaling.
    """

    def __init__(
        self,
        layout: BlockLayout,
        rollouts: int,
        device: str | torch.device,
        window: int = WINDOW,
        ranks: Ranks = ALONE,
    ) -> None:
        """Allocate the buffers.

        Args:
            layout: Which environment belongs to which block.
            rollouts: Steps T of an iteration.
            device: Device of the environment's tensors.
            window: Number of newest finished episodes of a block that its means run over.
            ranks: Processes whose finished episodes are counted together.
        """
        self.layout, self.window, self.ranks = layout, window, ranks
        self._running = torch.zeros(2, layout.num_envs, device=device)  # return and length of the current episodes
        self._values = torch.zeros(rollouts, len(_COLUMNS), layout.num_envs, device=device)
        self._done = torch.zeros(rollouts, layout.num_envs, dtype=torch.bool, device=device)
        self._blocks = layout.block_of(torch.arange(layout.num_envs, device=device))
        self._recent = [np.empty((0, len(_COLUMNS))) for _ in range(layout.num_blocks)]
        self.finished = [0] * layout.num_blocks
        self.has_successes = False
        self.shortened: torch.Tensor | None = None
        """Environments whose episode under way began late and does not count, bool, shape (N,), if some did."""

    def step(
        self,
        index: int,
        rewards: torch.Tensor,
        done: torch.Tensor,
        successes: torch.Tensor | None = None,
        broken: torch.Tensor | None = None,
    ) -> None:
        """Take in one environment step.

        Args:
            index: Step within the iteration, 0 to T - 1.
            rewards: Rewards, shape (N,).
            done: Whether the episode ended with this step, shape (N,).
            successes: Successes of the last finished episode of each environment, shape (N,), if the task counts them.
            broken: Whether the environment had broken down, shape (N,), if the task says so: such an episode is left
                out.
        """
        self._running[0] += rewards
        self._running[1] += 1.0
        self._values[index, :2] = self._running
        if successes is not None:
            self._values[index, 2] = successes
            self.has_successes = True
        counts = done if broken is None else done & ~broken
        if self.shortened is not None:
            counts = counts & ~self.shortened
            self.shortened &= ~done
        self._done[index] = counts
        self._running.masked_fill_(done, 0.0)

    def finish_iteration(self) -> None:
        """Move the episodes that ended in this iteration to the host, those of all ranks."""
        steps, envs = self._done.nonzero(as_tuple=True)
        rows = torch.cat((self._blocks[envs, None].to(self._values.dtype), self._values[steps, :, envs]), dim=1)
        rows = np.concatenate(self.ranks.gather(rows.cpu().double().numpy()))
        for block in range(self.layout.num_blocks):
            new = rows[rows[:, 0] == block, 1:]
            if len(new):  # in most iterations nothing has ended in most of many blocks
                self.finished[block] += len(new)
                self._recent[block] = np.concatenate((self._recent[block], new))[-self.window :]

    def restart(self) -> None:
        """Forget the episodes under way, because the environment was reset."""
        self._running.zero_()
        self.shortened = None

    def leave_out(self, shortened: torch.Tensor) -> None:
        """Leave episodes out that have just begun.

        Args:
            shortened: Environments whose episode began late. Shape (N,).
        """
        self.shortened = shortened.clone()

    def mean(self, block: int) -> dict[str, float]:
        """Means over the newest finished episodes of a block.

        Args:
            block: The block.

        Returns:
            ``return``, ``length`` [steps] and, if the task counts them, ``successes``; empty before an episode ended.
        """
        recent = self._recent[block]
        if not len(recent):
            return {}
        means: dict[str, float] = dict(zip(_COLUMNS, recent.mean(axis=0).tolist()))
        if not self.has_successes:
            del means["successes"]
        return means

    def metrics(self, leader: int) -> dict[str, float]:
        """Means of all blocks under log tags.

        Args:
            leader: Block that stands for the run.

        Returns:
            ``Leader/return``, ``Block_2/length`` and so on (of many blocks a summary, see
            :func:`~sapg_isaaclab.block_tags.block_tags`), and the number of finished episodes ``Leader/episodes``.
        """
        metrics = {f"Leader/{name}": value for name, value in self.mean(leader).items()}
        metrics["Leader/episodes"] = float(self.finished[leader])
        blocks = self.layout.num_blocks
        if blocks > 1:
            means = [self.mean(block) for block in range(blocks)]
            for tag, name in zip(_BLOCK_TAGS, _COLUMNS):
                known = {block: mean[name] for block, mean in enumerate(means) if name in mean}
                metrics |= block_tags(tag, known, blocks)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Complete state, for a checkpoint.

        Returns:
            Tensors and plain values.
        """
        return {
            "running": self._running.cpu(),
            "recent": [torch.from_numpy(recent.copy()) for recent in self._recent],
            "finished": list(self.finished),
            "has_successes": self.has_successes,
            "shortened": None if self.shortened is None else self.shortened.cpu(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state.

        Args:
            state: What :meth:`state_dict` returned, for the same number of environments and blocks.
        """
        self._running.copy_(state["running"])
        self._recent = [recent.cpu().numpy() for recent in state["recent"]]
        self.finished = list(state["finished"])
        self.has_successes = state["has_successes"]
        shortened = state.get("shortened")
        self.shortened = None if shortened is None else shortened.to(self._running.device)
