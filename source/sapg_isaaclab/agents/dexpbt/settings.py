"""Where the hyper-parameters of a learner are read: in its options, and in the weights of its environments' reward."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.dexpbt.mutation import Hyperparameters
from sapg_isaaclab.agents.sapg.agent import SAPG


class Settings:
    """Reads and writes what mutates, of the learners of this rank.

    Args:
        learners: The learners by their number in the population.
        layout: Which environments are theirs.
        cfg: Options of the population.
        reward_weights: Weights of the reward that the environment offers, by name, shape (N,) each.

    Raises:
        ValueError: If a weight is to mutate that is not offered.
    """

    def __init__(
        self,
        learners: Mapping[int, SAPG],
        layout: BlockLayout,
        cfg: DexPbtCfg,
        reward_weights: Mapping[str, torch.Tensor],
    ) -> None:
        names = cfg.mutated_rewards or tuple(reward_weights)
        for name in names:
            if name not in reward_weights:
                there = ", ".join(reward_weights)
                allowed = f"one of {there}" if there else "empty, for this environment offers none"
                raise ValueError(f"agent.mutated_rewards has {name!r}; it must be {allowed}")
        self.reward_weights = {name: reward_weights[name] for name in names}
        """Weights of the reward that mutate, shape (N,) each."""
        self._learners, self._layout, self._options = learners, layout, cfg.mutated

    def read(self, block: int) -> Hyperparameters:
        """Hyper-parameters of a learner as they are now. The host waits for the device.

        Args:
            block: Which learner.

        Returns:
            Values by name.
        """
        first, cfg = self._layout.slice(block).start, self._learners[block].cfg
        values = {f"agent.{name}": getattr(cfg, name) for name in self._options}
        return values | {f"reward.{name}": weights[first].item() for name, weights in self.reward_weights.items()}

    def write(self, block: int, values: Hyperparameters) -> None:
        """Change hyper-parameters of a learner.

        Args:
            block: Which learner.
            values: Values by name.
        """
        for name, value in values.items():
            kind, option = name.split(".", 1)
            if kind == "agent":
                setattr(self._learners[block].cfg, option, value)
            else:
                self.reward_weights[option][self._layout.slice(block)].fill_(value)
