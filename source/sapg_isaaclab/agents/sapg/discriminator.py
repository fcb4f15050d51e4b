"""CPO's discriminator: tells policies apart by what they see and do. Followers are paid for being recognised.

The adversarial reward of follower i is scale * log D(i | s, a). It enters the returns of on-policy rows only, so both
their advantages and the targets of their critic, after rewards have been scaled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tensordict import TensorDict
from torch import nn

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.mlp import mlp
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.agents.sapg.batch import minibatch_bounds
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.saving import check_shapes


def policy_labels(steps: int, layout: BlockLayout) -> torch.Tensor:
    """Whose row it is.

    Args:
        steps: Steps T of a rollout.
        layout: Blocks.

    Returns:
        Block of every row t N + n. Shape (T N,).
    """
    return (torch.arange(layout.num_envs) // layout.block_size).repeat(steps)


def time_labels(steps: int, layout: BlockLayout) -> torch.Tensor:
    """What CPO's released code takes for the policies: nearly the time.

    Its labels go block by block while its rows go step by step, so that the T N rows are cut into M equal parts of the
    rollout, from block M - 1 in the first steps to the leader, 0, in the last. Within a step its blocks are in the
    official order, in which the leader is last.

    Args:
        steps: Steps T of a rollout.
        layout: Blocks.

    Returns:
        Label of every row t N + n. Shape (T N,).
    """
    envs, blocks, size = layout.num_envs, layout.num_blocks, layout.block_size
    env = torch.arange(envs)
    official = (blocks - 1 - env // size) * size + env % size
    rows = torch.arange(steps).unsqueeze(1) * envs + official
    return (blocks - 1 - rows // (steps * size)).flatten()


LABELS = {"policy": policy_labels, "time": time_labels}
"""By ``adversarial_labels``."""


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
    """Minus log D(label | row).

    Args:
        logits: Outputs of the discriminator. Shape (rows, M).
        labels: Block of every row. Shape (rows,).
        twice: Take probabilities for logits once more (released code), which leaves the result within
            log(1 + (M - 1) / e) and log(e + M - 1).

    Returns:
        Cross-entropy of every row [nat]. Shape (rows,).
    """
    return F.cross_entropy(logits.softmax(dim=-1) if twice else logits, labels, reduction="none")


def adversarial_rewards(entropy: torch.Tensor, labels: torch.Tensor, *, leader: int, scale: float) -> torch.Tensor:
    """Reward of being recognised, scale * log D(label | s, a), of every label but the leader's.

    Args:
        entropy: What :func:`cross_entropy` returned. Shape (rows,).
        labels: Shape (rows,).
        leader: The leader's label.
        scale: ``adversarial_scale``.

    Returns:
        Rewards of shape (rows,), never positive.
    """
    return -scale * entropy * (labels != leader)


class Verdict(NamedTuple):
    """What the discriminator makes of a rollout.

    Attributes:
        rewards: Adversarial rewards. Shape (T, N).
        numbers: Scalars by name: mean ``reward`` of the labels that get one, mean ``cross_entropy`` [nat], and
            ``accuracy``, the share of rows whose policy it names.
    """

    rewards: torch.Tensor
    numbers: dict[str, torch.Tensor]


class Discriminator:
    """Network from an observation and the action taken to one logit for each policy, with an Adam of its own.

    Observations come as the environment gives them, actions unclamped; nothing is standardised (released code). Every
    update takes one pass over the shuffled rollout, in minibatches as large as the policies', at a constant step size.

    Args:
        num_inputs: Numbers of observations and actions together, D + A.
        layout: Blocks.
        cfg: Options of the agent.
        device: Where to compute.
        ranks: Processes that learn together: gradients are their means.
    """

    def __init__(
        self, num_inputs: int, layout: BlockLayout, cfg: SapgCfg, device: torch.device | str, ranks: Ranks = ALONE
    ) -> None:
        self.cfg, self.layout, self.ranks = cfg, layout, ranks
        sizes = cfg.adversarial_hidden_sizes
        self.network = nn.Sequential(mlp((num_inputs, *sizes), "elu"), nn.Linear(sizes[-1], layout.num_blocks)).to(
            device
        )
        rate = cfg.learning_rate if cfg.adversarial_learning_rate is None else cfg.adversarial_learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, eps=1e-8, fused=True)
        self.labels = LABELS[cfg.adversarial_labels](cfg.rollouts, layout).to(device)
        self._policies = policy_labels(cfg.rollouts, layout).to(device)
        self._bounds = minibatch_bounds(len(self.labels), len(self.labels), cfg)

    def _entropy(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, labels, twice=self.cfg.adversarial_softmax == "twice")

    @torch.no_grad()
    def judge(self, rollout: TensorDict) -> Verdict:
        """Adversarial rewards of a rollout, by the discriminator as it is.

        Args:
            rollout: ``observations`` and ``actions``. Batch size [T, N].

        Returns:
            Rewards and numbers to report.
        """
        observations, actions = (rollout[name].flatten(0, 1) for name in ("observations", "actions"))
        entropy, named = [], []
        for start, end in zip(self._bounds[:-1], self._bounds[1:]):
            logits = self.network(torch.cat((observations[start:end], actions[start:end]), dim=1))
            entropy.append(self._entropy(logits, self.labels[start:end]))
            named.append(logits.argmax(dim=1))
        found, leader = torch.cat(entropy), self.layout.leader
        rewards = adversarial_rewards(found, self.labels, leader=leader, scale=self.cfg.adversarial_scale)
        numbers = {
            "reward": rewards.sum() / (self.labels != leader).sum(),
            "cross_entropy": found.mean(),
            "accuracy": (torch.cat(named) == self._policies).float().mean(),
        }
        return Verdict(rewards.view(rollout.batch_size), numbers)

    def learn(self, rollout: TensorDict) -> None:
        """One pass over a rollout.

        Args:
            rollout: As for :meth:`judge`.
        """
        observations, actions = (rollout[name].flatten(0, 1) for name in ("observations", "actions"))
        order, parameters = torch.randperm(len(self.labels), device=self.labels.device), list(self.network.parameters())
        for start, end in zip(self._bounds[:-1], self._bounds[1:]):
            rows = order[start:end]
            logits = self.network(torch.cat((observations[rows], actions[rows]), dim=1))
            loss = self._entropy(logits, self.labels[rows]).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.ranks.average_gradients(parameters, loss.detach().unsqueeze(0))
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Network and optimiser."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it is of another network.
        """
        check_shapes("discriminator", state["network"], self.network.state_dict())
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
