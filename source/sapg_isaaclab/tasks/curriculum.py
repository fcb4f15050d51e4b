"""Makes a task harder as its policies get better."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """The way of one number of a task, such as a tolerance, from an easy start to the task itself."""

    initial: float
    """Number at the start, in the unit of the task."""

    final: float
    """Number of the task itself; equal to ``initial`` for no way at all."""

    factor: float
    """Factor of one step: below 1 for a number that shrinks, above 1 for one that grows."""

    def check(self, name: str) -> None:
        """Refuse numbers that lead nowhere.

        Args:
            name: What the number is called, for the message.

        Raises:
            ValueError: If the final number cannot be reached.
        """
        if not (0.0 < self.initial < math.inf and 0.0 < self.final < math.inf):
            raise ValueError(f"{name} from {self.initial} to {self.final} is not allowed; use numbers above 0")
        if self.factor <= 0.0 or self.factor == 1.0:
            raise ValueError(f"{name}: factor {self.factor} is not allowed; use one above 0 that is not 1")
        if self.initial != self.final and (self.final < self.initial) != (self.factor < 1.0):
            raise ValueError(
                f"{name} from {self.initial} to {self.final} cannot be reached with factor {self.factor}; use a factor"
                " below 1 for a number that shrinks, above 1 for one that grows"
            )


class Curriculum:
    """Moves numbers of a task one step towards the task itself whenever enough goals are reached.

    The paper's tolerance of the AllegroKuka tasks (Section 5; official code) is one with a single number. Several move
    together, each by its own factor, and one that has arrived waits for the others.

    There is one state for all environments, or with ``groups`` one for each of G contiguous groups of them, which the
    group's own successes move.

    Everything is a tensor on the simulation device, so that asking and moving never waits for the GPU.
    """

    def __init__(
        self,
        ways: Mapping[str, Way],
        *,
        interval: int = 3000,
        threshold: float = 3.0,
        groups: int | None = None,
        device: str = "cpu",
    ):
        """Start at the initial numbers.

        Args:
            ways: Way of every number by its name.
            interval: Control steps that must have passed since the last change.
            threshold: Mean successes of finished episodes from which on the next step is made.
            groups: Number of groups G with numbers of their own; None for one state.
            device: Device of the tensors.

        Raises:
            ValueError: If the numbers make no curriculum.
        """
        for name, way in ways.items():
            way.check(name)
        if interval < 1:
            raise ValueError(f"curriculum interval {interval} is not allowed; use at least 1 step")
        self.ways, self.interval, self.threshold, self.groups = dict(ways), interval, threshold, groups
        shape = () if groups is None else (groups,)
        self.values = {name: torch.full(shape, way.initial, device=device) for name, way in ways.items()}
        """Number in force by name, 0-dim, or that of every group, shape (G,); changed in place."""
        self._ends = {
            name: (torch.tensor(way.initial, device=device), torch.tensor(way.final, device=device))
            for name, way in ways.items()
        }
        self._last_change = torch.zeros(shape, dtype=torch.long, device=device)

    def update(self, step: int, successes: torch.Tensor) -> None:
        """Make the next step if it is time.

        Args:
            step: Control steps since the start of training.
            successes: Successes in the last finished episode of each environment that counts, shape (n,); with groups
                those of all environments, group after group.
        """
        mean = successes.mean() if self.groups is None else successes.view(self.groups, -1).mean(-1)
        due = step - self._last_change >= self.interval
        move = due & (mean >= self.threshold) & ~self.arrived()
        for name, value in self.values.items():
            nearest = torch.maximum if self.ways[name].factor < 1.0 else torch.minimum
            moved = nearest(value * self.ways[name].factor, self._ends[name][1])
            # in place: steps taken under torch.inference_mode must not leave inference tensors behind
            value.copy_(torch.where(move, moved, value))
        self._last_change.masked_fill_(move, step)

    def arrived(self, name: str | None = None) -> torch.Tensor:
        """Whether the task itself is in force.

        Args:
            name: The number to ask about; all of them by default.

        Returns:
            Bool, shape of a value.
        """
        names = self.values if name is None else (name,)
        return torch.stack([self.values[each] == self._ends[each][1] for each in names]).all(0)

    def progress(self) -> torch.Tensor:
        """Share of the way that is done, in [0, 1], the mean over all numbers; 1 where there is no way.

        Returns:
            Shape of a value.
        """
        shares = []
        for name, value in self.values.items():
            initial, final = self._ends[name]
            way = self.ways[name]
            none = way.initial == way.final
            shares.append(torch.ones_like(value) if none else (initial - value) / (initial - final))
        return torch.stack(shares).mean(0)

    def true_objective(self, successes: torch.Tensor) -> torch.Tensor:
        """What a population is ranked by: progress first, successes once the task itself is in force.

        Args:
            successes: Successes in the last finished episode, any shape; with groups of all environments, shape (N,).

        Returns:
            ``0.01 * successes + progress`` on the way, ``successes + progress`` at its end.
        """
        weight = torch.where(self.arrived(), 1.0, 0.01)
        return self._spread(weight, successes) * successes + self._spread(self.progress(), successes)

    def of_environments(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """A number to hold against numbers of all environments.

        Args:
            name: Which one.
            like: Numbers of all environments, shape (N,).

        Returns:
            The number in force, 0-dim; with groups that of every environment, shape (N,).
        """
        return self._spread(self.values[name], like)

    def _spread(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Numbers of the groups, shape (G,), repeated for their environments, shape (N,)."""
        return values if self.groups is None else values.repeat_interleave(len(like) // self.groups)

    def group_state(self, group: int) -> dict[str, torch.Tensor]:
        """Numbers of one group, for another to take over.

        Args:
            group: The group.

        Returns:
            Every number by its name and ``last_change``, the step of their last change, 0-dim.
        """
        return {name: value[group].clone() for name, value in self._all().items()}

    def load_group(self, group: int, state: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the numbers of one group.

        Args:
            group: The group.
            state: What :meth:`group_state` returned, here or in another process.
        """
        for name, value in self._all().items():
            value[group].copy_(state[name])

    def _all(self) -> dict[str, torch.Tensor]:
        return {**self.values, "last_change": self._last_change}

    def state_dict(self) -> dict[str, Any]:
        """Every number by its name and ``last_change``, the step of their last change; with groups lists of them."""
        return {name: value.tolist() for name, value in self._all().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Args:
            state: The saved numbers.

        Raises:
            KeyError: If one is missing.
        """
        for name, value in self._all().items():
            value.copy_(torch.as_tensor(state[name]))
