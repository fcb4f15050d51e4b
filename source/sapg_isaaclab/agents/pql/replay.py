"""Replay of n-step transitions: the last steps of every environment, and a ring of what became of them."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Step(NamedTuple):
    """One step of all environments.

    Attributes:
        observations: Before the step. Shape (N, D).
        actions: Shape (N, A).
        rewards: Shape (N,).
        next_observations: After the step; of the episode that ended, where its value is to count. Shape (N, D).
        done: Whether the episode ended with the step, boolean. Shape (N,).
        counts: Whether the value of ``next_observations`` counts: everywhere but where an episode ended for good,
            boolean. Shape (N,).
    """

    observations: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_observations: torch.Tensor
    done: torch.Tensor
    counts: torch.Tensor


class Transitions(NamedTuple):
    """What a critic learns from: the target of Q(s, a) is R + discount Q(s', a').

    Attributes:
        observations: State s. Shape (rows, D).
        actions: Action a. Shape (rows, A).
        next_observations: State s' in which the window of rewards ends. Shape (rows, D).
        rewards: Discounted sum R of the window's rewards. Shape (rows,).
        discounts: gamma^k after a window of k steps, 0 where nothing follows it. Shape (rows,).
    """

    observations: torch.Tensor
    actions: torch.Tensor
    next_observations: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor


def n_step_transitions(steps: Sequence[Step], gamma: float) -> Transitions:
    """Transitions that begin with the first of n consecutive steps.

    A window ends with the first done in it, or with its last step. The official code has ``done`` and a constant
    gamma^n instead of a discount per transition, which is the same unless the value after a time-out counts: a window
    that it makes shorter, to k steps, needs gamma^k.

    Args:
        steps: The n steps, the oldest first.
        gamma: Discount factor.

    Returns:
        One transition for each of the N environments.
    """
    first = steps[0]
    alive = torch.ones_like(first.done)
    rewards, discounts = torch.zeros_like(first.rewards), torch.zeros_like(first.rewards)
    next_observations = first.next_observations
    for k, step in enumerate(steps):
        rewards = rewards + gamma**k * alive * step.rewards
        discounts = torch.where(alive, gamma ** (k + 1) * step.counts, discounts)
        next_observations = torch.where(alive[:, None], step.next_observations, next_observations)
        alive = alive & step.done.logical_not()
    return Transitions(first.observations, first.actions, next_observations, rewards, discounts)


def memory_bytes(size: int, num_observations: int, num_actions: int) -> int:
    """Memory of a replay.

    Args:
        size: Transitions kept.
        num_observations: Number D of observations.
        num_actions: Number A of actions.

    Returns:
        Bytes: 4 (2 D + A + 2) per transition.
    """
    return 4 * size * (2 * num_observations + num_actions + 2)


class Replay:
    """Ring of the newest transitions, one table ``rows`` of [s, a, s', R, discount] in float32.

    Every step of N environments adds N transitions, those that began n - 1 steps before. They need not fill the ring
    evenly: the last rows of a step may wrap around to its beginning. Nothing here makes the host wait for the device.

    The official code has a second ring for the actor, of states only and without the delay of n - 1 steps. Both hold
    the same states, so one serves both here.

    Args:
        size: Transitions kept.
        num_envs: Number of environments N, at most ``size``.
        num_observations: Number D of observations.
        num_actions: Number A of actions.
        n_step: Steps n in a window.
        gamma: Discount factor.
        device: Where the transitions live.
    """

    def __init__(
        self,
        size: int,
        num_envs: int,
        num_observations: int,
        num_actions: int,
        *,
        n_step: int,
        gamma: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.size, self.num_envs, self.n_step, self.gamma = size, num_envs, n_step, gamma
        self.widths = (num_observations, num_actions, num_observations, 1, 1)
        self.rows = torch.empty(size, sum(self.widths), device=device)
        self.bytes = memory_bytes(size, num_observations, num_actions)
        self._window: collections.deque[Step] = collections.deque(maxlen=n_step)
        self._filled = self._next = 0

    def __len__(self) -> int:
        """Number of transitions that can be drawn."""
        return self._filled

    def add(self, step: Step) -> None:
        """Take in a step of all environments.

        Args:
            step: The step. Its tensors are copied: environments may reuse theirs.
        """
        self._window.append(Step(*(column.clone() for column in step)))
        if len(self._window) < self.n_step:
            return
        *wide, rewards, discounts = n_step_transitions(self._window, self.gamma)
        rows = torch.cat((*wide, rewards[:, None], discounts[:, None]), dim=1)
        fitting = min(self.num_envs, self.size - self._next)
        self.rows[self._next : self._next + fitting] = rows[:fitting]
        self.rows[: self.num_envs - fitting] = rows[fitting:]
        self._next = (self._next + self.num_envs) % self.size
        self._filled = min(self._filled + self.num_envs, self.size)

    def cut(self) -> None:
        """Forget unfinished windows: what comes next does not follow from what came last."""
        self._window.clear()

    def sample(self, rows: int, generator: torch.Generator) -> Transitions:
        """Draw transitions uniformly, with replacement.

        Args:
            rows: How many.
            generator: Source of randomness, on the device.

        Returns:
            The transitions.
        """
        columns = self.rows[self._draw(rows, generator)].split(self.widths, dim=1)
        observations, actions, next_observations, rewards, discounts = columns
        return Transitions(observations, actions, next_observations, rewards.squeeze(1), discounts.squeeze(1))

    def sample_observations(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        """Draw states alone, as :meth:`sample` does.

        Args:
            rows: How many.
            generator: Source of randomness, on the device.

        Returns:
            Observations of shape (rows, D).
        """
        return self.rows[:, : self.widths[0]][self._draw(rows, generator)]

    def _draw(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(self._filled, (rows,), generator=generator, device=self.rows.device)

    def state_dict(self) -> dict[str, Any]:
        """The filled part of the ring, copied to the host, and unfinished windows."""
        return {
            "rows": self.rows[: self._filled].to("cpu", copy=True),
            "next": self._next,
            "size": self.size,
            "window": [tuple(column.cpu() for column in step) for step in self._window],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved ring.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it is of another size, or of other or other numbers of environments.
        """
        rows, window = state["rows"], state["window"]
        came = (state["size"], rows.shape[1], *(len(step[0]) for step in window[:1]))
        own = (self.size, self.rows.shape[1], *(self.num_envs for _ in window[:1]))
        if came != own:
            raise ValueError(
                f"the checkpoint's replay has (rows, columns, environments) {came}, this agent's {own};"
                " use the task, agent.replay_size and number of environments of the run that wrote it"
            )
        self._filled, self._next = len(rows), state["next"]
        self.rows[: self._filled] = rows.to(self.rows.device)
        self._window.clear()
        self._window.extend(Step(*(column.to(self.rows.device) for column in step)) for step in window)
