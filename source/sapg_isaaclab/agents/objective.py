"""What the newest finished episode in every environment was worth: by this, policies are compared."""

from __future__ import annotations

from typing import Any

import torch


class EpisodeObjectives:
    """Follows the objective of every environment on the device; the host never waits for it.

    It is the task's true objective of the last finished episode; in a task without one, the return of that episode.

    Args:
        num_envs: Number of environments N of this process.
        device: Device of the environment's tensors.
    """

    def __init__(self, num_envs: int, device: torch.device | str) -> None:
        flags = {"dtype": torch.bool, "device": device}
        self.last = torch.zeros(num_envs, device=device)
        """Objective of each environment's last finished episode that counts; 0 before there is one. Shape (N,)."""
        self.finished = torch.zeros(num_envs, **flags)
        """Whether such an episode has ended since the start or the last change of the policy. Shape (N,)."""
        self._running = torch.zeros(num_envs, device=device)  # return of the episode under way
        self._whole = torch.ones(num_envs, **flags)  # it began with the policy as it is

    def step(
        self,
        rewards: torch.Tensor,
        done: torch.Tensor,
        true_objective: torch.Tensor | None = None,
        left_out: torch.Tensor | None = None,
    ) -> None:
        """Take in one step of all environments.

        Args:
            rewards: Rewards. Shape (N,).
            done: Whether the episode ended with this step. Shape (N,).
            true_objective: Objective of each environment's last finished episode, if the task has one. Shape (N,).
            left_out: Where an episode that ends does not count, such as one whose environment has broken down.
                Shape (N,).
        """
        counts = done & self._whole
        if left_out is not None:
            counts = counts & ~left_out
        value = true_objective
        if value is None:
            self._running += rewards
            value = self._running
        self.last.copy_(torch.where(counts, value, self.last))
        self.finished |= counts
        self._whole |= done
        self._running.masked_fill_(done, 0.0)

    def policy_changed(self, where: torch.Tensor) -> None:
        """Forget what a policy did before it changed, the episodes under way included.

        Args:
            where: In which environments it acts, boolean. Shape (N,).
        """
        self.finished &= ~where
        self._whole &= ~where

    def restart_episodes(self) -> None:
        """Forget the episodes under way, because the environment was reset."""
        self._running.zero_()
        self._whole.fill_(True)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs."""
        return {"last": self.last, "finished": self.finished, "running": self._running, "whole": self._whole}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned, for the same number of environments.
        """
        for own, saved in zip(self.state_dict().values(), (state[name] for name in self.state_dict())):
            own.copy_(saved)
