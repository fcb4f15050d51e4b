"""What the learners of a population are ranked by."""

from __future__ import annotations

from typing import Any

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.objective import EpisodeObjectives

WINDOW = 3000
"""Number of newest finished episodes of a learner that its mean return runs over."""


class Objectives:
    """Follows the objective of every learner, without a host synchronisation per step.

    It is the mean over a learner's environments of the true objective at each one's last finished episode; in a task
    without one it is the mean return of the learner's last 3000 episodes. It is known once every environment of the
    learner has finished an episode since the learner started or changed.

    Each rank follows the learners that it holds, and all know the objectives of all.

    Args:
        layout: The learners' blocks, and the ranks that they are spread over.
        rollouts: Steps T of an iteration.
        device: Device of the environment's tensors.
    """

    def __init__(self, layout: BlockLayout, rollouts: int, device: torch.device | str) -> None:
        envs = layout.num_envs
        self.layout, self._ranks = layout, layout.spread
        self._episodes = EpisodeObjectives(envs, device)
        self._has_objective = False
        self._returns = torch.zeros(rollouts, envs, device=device)
        self._done = torch.zeros(rollouts, envs, dtype=torch.bool, device=device)
        self._recent = [torch.empty(0, dtype=torch.float64) for _ in layout.held]  # on the host
        self.now: list[float | None] = [None] * layout.num_blocks
        """Objective of every learner, None where it is not known."""
        self.best: list[float | None] = [None] * layout.num_blocks
        """Largest objective of every learner in this interval."""

    def step(
        self,
        index: int,
        rewards: torch.Tensor,
        done: torch.Tensor,
        true_objective: torch.Tensor | None,
        shortened: torch.Tensor | None = None,
    ) -> None:
        """Take in one step of all environments.

        Args:
            index: Step within the iteration, 0 to T - 1.
            rewards: Rewards, shape (N,).
            done: Whether the episode ended with this step, shape (N,).
            true_objective: Objective of each environment's last finished episode, shape (N,), if the task has one.
            shortened: Whether the episode began late and does not count, shape (N,), if some did.
        """
        self._episodes.step(rewards, done, true_objective, shortened)
        if true_objective is not None:
            self._has_objective = True
            return
        self._returns[index] = self._episodes.last
        self._done[index] = done if shortened is None else done & ~shortened

    def finish_iteration(self) -> None:
        """Bring the objectives to the host, in one transfer, and to the other ranks. All ranks must ask for it."""
        blocks = len(self.layout.held)
        known = self._episodes.finished.view(blocks, -1).all(dim=1).double()
        if self._has_objective:
            known, values = torch.stack((known, self._episodes.last.view(blocks, -1).double().mean(dim=1))).tolist()
        else:
            known = self._collect(known)
            values = [recent.mean().item() for recent in self._recent]
        own = [value if sure else None for sure, value in zip(known, values)]
        self.now = [value for part in self._ranks.gather(own) for value in part]
        for learner, value in enumerate(self.now):
            if value is not None:
                best = self.best[learner]
                self.best[learner] = value if best is None else max(best, value)

    def _collect(self, known: torch.Tensor) -> list[float]:
        """Append the returns of the iteration's finished episodes; hands back ``known`` as read with them."""
        steps, envs = self._done.nonzero(as_tuple=True)
        owner = (envs // self.layout.block_size).double()  # among those of this rank
        columns = torch.stack((owner, self._returns[steps, envs].double()))
        numbers = torch.cat((known, columns.flatten())).cpu()
        known, (owner, returns) = numbers[: len(known)], numbers[len(known) :].view(2, -1)
        for learner, recent in enumerate(self._recent):
            self._recent[learner] = torch.cat((recent, returns[owner == learner]))[-WINDOW:]
        return known.tolist()

    def restart(self, learner: int) -> None:
        """Forget the objective of a learner that has changed.

        Args:
            learner: The learner.
        """
        if learner in self.layout.held:
            # an episode under way counts as the changed learner's when it ends (official code)
            self._episodes.finished[self.layout.slice(learner)].fill_(False)
            self._recent[learner - self.layout.held.start] = torch.empty(0, dtype=torch.float64)
        self.now[learner] = self.best[learner] = None

    def end_interval(self) -> None:
        """Forget the best objectives."""
        self.best = [None] * self.layout.num_blocks

    def restart_episodes(self) -> None:
        """Forget the episodes under way, because the environment was reset."""
        self._episodes.restart_episodes()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs of this rank."""
        return {
            "episodes": self._episodes.state_dict(),
            "has_objective": self._has_objective,
            "recent": list(self._recent),
            "now": list(self.now),
            "best": list(self.best),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned, for the same number of environments and learners.
        """
        self._episodes.load_state_dict(state["episodes"])
        self._has_objective = state["has_objective"]
        self._recent = [recent.cpu() for recent in state["recent"]]
        self.now, self.best = list(state["now"]), list(state["best"])
