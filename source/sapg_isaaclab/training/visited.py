"""A uniform sample of the states that training visits, for whoever asks how different they are."""

from __future__ import annotations

import pathlib
import random
from typing import Any

import numpy as np
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.runs.files import write_atomically

FILE = "states.npz"
"""Name of the file in the run folder."""


class VisitedStates:
    """Keeps K observations of each block, drawn uniformly from all that its policy has acted on so far.

    One random step of each iteration offers the observations of all environments. Each gets a random key, and the K
    smallest keys of a block stay: reservoir sampling, in whole batches and without a look at the numbers by the host.
    All draws are from generators of its own, so a run with a sample is the run without one, bit by bit.
    """

    def __init__(
        self, layout: BlockLayout, rollouts: int, size: int, per_block: int, device: str | torch.device, seed: int = 0
    ) -> None:
        """Allocate the sample.

        Args:
            layout: Which environment belongs to which block.
            rollouts: Steps T of an iteration.
            size: Size D of an observation.
            per_block: Number K of observations that are kept of each block.
            device: Device of the observations.
            seed: Seed of the draws.
        """
        self._layout, self._rollouts, self._seed = layout, rollouts, seed
        blocks = len(layout.held)
        shape = (blocks, per_block)
        self._states = torch.zeros(*shape, size, device=device)
        self._keys = torch.full(shape, torch.inf, dtype=torch.float64, device=device)  # 24 bits would tie after days
        self._iterations = torch.zeros(shape, dtype=torch.long, device=device)
        self._offered = torch.zeros(blocks, layout.block_size, size, device=device)
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def step(self, iteration: int, index: int, observations: torch.Tensor) -> None:
        """Look at one step.

        Args:
            iteration: Iteration under way, from 1.
            index: Step within it, 0 to T - 1.
            observations: What the policies act on. Shape (N, D).
        """
        if index == random.Random(f"{self._seed} {iteration}").randrange(self._rollouts):
            self._offered.copy_(observations.view_as(self._offered))

    def finish_iteration(self, iteration: int) -> None:
        """Draw anew from what was kept and what the iteration offers.

        Args:
            iteration: Its number, from 1.
        """
        blocks, envs = self._offered.shape[:2]
        new = torch.rand(blocks, envs, dtype=torch.float64, generator=self._generator, device=self._keys.device)
        when = torch.full((blocks, envs), iteration, dtype=torch.long, device=self._keys.device)
        keys, chosen = torch.cat((self._keys, new), dim=1).topk(self._keys.shape[1], dim=1, largest=False)
        self._keys = keys
        self._iterations = torch.cat((self._iterations, when), dim=1).gather(1, chosen)
        states = torch.cat((self._states, self._offered), dim=1)
        self._states = states.gather(1, chosen[..., None].expand(-1, -1, states.shape[2]))

    def state_dict(self) -> dict[str, Any]:
        """Complete state, for a checkpoint.

        Returns:
            Tensors.
        """
        names = ("states", "keys", "iterations")
        return {name: getattr(self, f"_{name}").cpu() for name in names} | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a sample. One of another size is left alone: this one begins anew.

        Args:
            state: What :meth:`state_dict` returned.
        """
        if state["states"].shape != self._states.shape:
            return
        for name in ("states", "keys", "iterations"):
            getattr(self, f"_{name}").copy_(state[name])
        self._generator.set_state(state["generator"].cpu())


def write(path: pathlib.Path, samples: list[dict[str, Any]], leader: int) -> None:
    """Write a sample as a file of numpy, whole or not at all.

    Args:
        path: The file.
        samples: What :meth:`VisitedStates.state_dict` returned, on each rank that has blocks of its own.
        leader: Block of the leader.

    Raises:
        OSError: If it cannot be written.
    """
    states, iterations = (torch.cat([each[name] for each in samples]).numpy() for name in ("states", "iterations"))
    write_atomically(path, lambda file: np.savez(file, states=states, iterations=iterations, leader=np.asarray(leader)))
