"""The processes ("ranks") that train one agent together, each with environments of its own.

With one process everything here is the identity and sends nothing. How processes find each other is not decided here:
whoever starts them makes torch's process group before the agent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist

from sapg_isaaclab.errors import RankLostError


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among all that train together.

    Every method must be called by all ranks, in the same order.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Ranks of torch's process group.

        Returns:
            This process among them; one process alone if there is no group.
        """
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Seed of whatever must differ between ranks.

        Args:
            seed: Seed of the run.

        Returns:
            The run's seed on rank 0. On the others far from it, so that runs with seeds 1, 2, ... share no data.
        """
        return (seed + 1_000_003 * self.rank) % 2**32

    def gather(self, value: Any) -> list[Any]:
        """Values of all ranks.

        Args:
            value: Anything that can be pickled; tensors should be on the host.

        Returns:
            One value for each rank, in their order.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _in_touch():
            dist.all_gather_object(values, value)
        return values

    def gather_to_main(self, value: Any) -> list[Any]:
        """Values of all ranks, on rank 0 only.

        Args:
            value: Anything that can be pickled; tensors should be on the host.

        Returns:
            One value for each rank, in their order; empty on the other ranks.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_main else []
        with _in_touch():
            dist.gather_object(value, values or None, dst=0)
        return values

    def gather_states(self, state: Any) -> list[Any]:
        """States of the other ranks, on rank 0.

        Args:
            state: State of this rank: tensors, plain values and containers of them.

        Returns:
            One state for each rank but the first, with tensors on the host. Empty on the other ranks.
        """
        if self.size == 1:
            return []
        return [_unpack(each) for each in self.gather_to_main(_pack(state if self.rank else None))[1:]]

    def hand_over(self, state: Any, source: int, target: int) -> Any:
        """Bring a state from one rank to another, in two messages. All other ranks go on at once.

        Args:
            state: What ``source`` gives: tensors, plain values and containers of them. Not looked at elsewhere.
            source: Rank that has it.
            target: Rank that wants it.

        Returns:
            The state, with tensors on the host where it came from another rank; on the ``target`` only.
        """
        if self.rank not in (source, target) or source == target:
            return state if self.rank == target else None
        with _in_touch():
            if self.rank == source:
                content = torch.frombuffer(bytearray(_pack(state)), dtype=torch.uint8)
                dist.send(torch.tensor([len(content)]), target)
                dist.send(content, target)
                return None
            size = torch.zeros(1, dtype=torch.long)
            dist.recv(size, source)
            content = torch.empty(int(size), dtype=torch.uint8)
            dist.recv(content, source)
        return _unpack(content.numpy().tobytes())

    def gather_tensors(self, *tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Tensors of all ranks, in one message that stays on the device.

        Args:
            *tensors: Tensors of one dtype and device, of the same shapes on all ranks.

        Returns:
            As many tensors of the same shapes for each rank, in their order.
        """
        if self.size == 1:
            return [tensors]
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        parts = [torch.empty_like(flat) for _ in range(self.size)]
        with _in_touch():
            dist.all_gather(parts, flat)
        sizes = [tensor.numel() for tensor in tensors]
        return [tuple(own.view_as(tensor) for own, tensor in zip(part.split(sizes), tensors)) for part in parts]

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter], numbers: torch.Tensor) -> torch.Tensor:
        """Replace gradients by their means over all ranks, in one message that takes some numbers along.

        Args:
            parameters: Parameters after a backward pass. Those without a gradient are the same on all ranks.
            numbers: Numbers to average as well, of the gradients' dtype and device. Shape (n,).

        Returns:
            Means of the numbers. Shape (n,).
        """
        if self.size == 1:
            return numbers
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), numbers])
        with _in_touch():
            dist.all_reduce(flat)
        *means, numbers = (flat / self.size).split([*(gradient.numel() for gradient in gradients), len(numbers)])
        for gradient, mean in zip(gradients, means):
            gradient.copy_(mean.view_as(gradient))
        return numbers

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors by those of rank 0.

        Args:
            tensors: Tensors of the same shapes on all ranks, in the same order.
        """
        if self.size > 1:
            with _in_touch():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)


ALONE = Ranks()
"""One process, whatever the process group says."""


def _pack(state: Any) -> bytes:
    """A state as a file would hold it: tensors of another rank's GPU must not come to life on this one's."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _unpack(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch raises when the other end of a connection has closed it
        raise RankLostError(
            "contact with another rank was lost; its own message says why, the last checkpoint is intact"
        ) from error
