"""Networks of PQL: a deterministic actor, and two critics in one module, of values or of distributions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from skrl.models.torch import DeterministicMixin, Model
from torch import nn

from sapg_isaaclab.agents.mlp import mlp


class Actor(DeterministicMixin, Model):
    """Deterministic policy, tanh at its end.

    Args:
        observation_space: Box of D observations.
        action_space: Box of A actions.
        device: Where the parameters live.
        hidden_sizes: Units of the hidden layers.
        activation: Their activation.
    """

    def __init__(self, observation_space, action_space, device, *, hidden_sizes: tuple[int, ...], activation: str):
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        DeterministicMixin.__init__(self)
        self.net = nn.Sequential(
            mlp((self.num_observations, *hidden_sizes), activation), nn.Linear(hidden_sizes[-1], self.num_actions)
        )
        self.to(self.device)

    def evaluate(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions without noise.

        Args:
            observations: Standardised observations. Shape (rows, D).

        Returns:
            Actions in [-1, 1]. Shape (rows, A).
        """
        return self.net(observations).tanh()

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Actions, skrl's way.

        Args:
            inputs: ``observations``, standardised. Shape (rows, D).
            role: Unused.

        Returns:
            Actions (rows, A) and nothing else.
        """
        return self.evaluate(inputs["observations"]), {}


class DoubleCritic(DeterministicMixin, Model):
    """Two independent values Q(s, a); the smaller one is believed.

    The two run one after the other: on a CPU one batched product for both took 1.1 to 1.2 times as long.

    Args:
        observation_space: Box of D observations.
        action_space: Box of A actions.
        device: Where the parameters live.
        hidden_sizes: Units of the hidden layers of each.
        activation: Their activation.
        outputs: Numbers K that each gives.
    """

    def __init__(
        self,
        observation_space,
        action_space,
        device,
        *,
        hidden_sizes: tuple[int, ...],
        activation: str,
        outputs: int = 1,
    ) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        DeterministicMixin.__init__(self)
        sizes = (self.num_observations + self.num_actions, *hidden_sizes)
        self.nets = nn.ModuleList(
            nn.Sequential(mlp(sizes, activation), nn.Linear(sizes[-1], outputs)) for _ in range(2)
        )
        self.to(self.device)

    def evaluate(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """What both say.

        Args:
            observations: Standardised observations. Shape (rows, D).
            actions: Actions. Shape (rows, A).

        Returns:
            Outputs of shape (2, rows, K).
        """
        rows = torch.cat((observations, actions), dim=1)
        return torch.stack([net(rows) for net in self.nets])

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Values of outputs.

        Args:
            outputs: Shape (2, rows, K).

        Returns:
            Values of shape (2, rows).
        """
        return outputs.squeeze(-1)

    def target(self, outputs: torch.Tensor, rewards: torch.Tensor, discounts: torch.Tensor) -> torch.Tensor:
        """What both shall say: R + discount min(Q1', Q2').

        Args:
            outputs: What the target critics say of the next states and actions. Shape (2, rows, K).
            rewards: Returns R of the windows. Shape (rows,).
            discounts: Discounts of what follows them. Shape (rows,).

        Returns:
            Target of both. Shape (rows,).
        """
        return torch.addcmul(rewards, discounts, self.values(outputs).amin(dim=0))

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared errors, summed over the two.

        Args:
            outputs: Shape (2, rows, K).
            target: What :meth:`target` returned.

        Returns:
            Loss, scalar.
        """
        return (self.values(outputs) - target).square().mean(dim=1).sum()

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """The smaller value, skrl's way.

        Args:
            inputs: ``observations`` (rows, D), standardised, and ``taken_actions`` (rows, A).
            role: Unused.

        Returns:
            Values (rows, 1) and nothing else.
        """
        outputs = self.evaluate(inputs["observations"], inputs["taken_actions"])
        return self.values(outputs).amin(dim=0)[:, None], {}


class DistributionalCritic(DoubleCritic):
    """Two independent distributions of the return over evenly spaced numbers (C51, Bellemare et al., 2017); PQL-D.

    Args:
        observation_space: Box of D observations.
        action_space: Box of A actions.
        device: Where the parameters live.
        atoms: How many numbers K.
        value_range: Lowest and highest of them.
        **network: Further arguments of :class:`DoubleCritic`.
    """

    support: torch.Tensor

    def __init__(
        self, observation_space, action_space, device, *, atoms: int, value_range: tuple[float, float], **network: Any
    ) -> None:
        super().__init__(observation_space, action_space, device, outputs=atoms, **network)
        self.register_buffer("support", torch.linspace(*value_range, atoms, device=self.device), persistent=False)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Means of the distributions. See :meth:`DoubleCritic.values`.

        Args:
            outputs: Logits of shape (2, rows, K).

        Returns:
            Values of shape (2, rows).
        """
        return outputs.softmax(dim=-1) @ self.support

    def target(self, outputs: torch.Tensor, rewards: torch.Tensor, discounts: torch.Tensor) -> torch.Tensor:
        """Probabilities that both shall give: the smaller of the two projected ones, atom by atom.

        They need not sum to 1: the official code does not renormalise them.

        Args:
            outputs: Logits of the target critics. Shape (2, rows, K).
            rewards: Returns R of the windows. Shape (rows,).
            discounts: Discounts of what follows them. Shape (rows,).

        Returns:
            Target of both. Shape (rows, K).
        """
        smaller = project(outputs.softmax(dim=-1), rewards, discounts, self.support).amin(dim=0)
        return smaller.clamp(max=1.0)  # sums of shares may exceed 1 by a rounding error, which the loss refuses

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropies, each the mean over rows and atoms, summed over the two.

        Args:
            outputs: Logits of shape (2, rows, K).
            target: What :meth:`target` returned.

        Returns:
            Loss, scalar.
        """
        probabilities = outputs.softmax(dim=-1)
        return 2.0 * F.binary_cross_entropy(probabilities, target.expand_as(probabilities))


def project(
    probabilities: torch.Tensor, rewards: torch.Tensor, discounts: torch.Tensor, support: torch.Tensor
) -> torch.Tensor:
    """Distributions of R + discount Z over the numbers that Z itself takes.

    The probability of a number between two atoms is split among them in proportion to its closeness; what lies outside
    goes to the outermost. On CUDA the order in which an atom's parts are summed up is not fixed.

    Args:
        probabilities: Distributions of Z. Shape (2, rows, K).
        rewards: Shape (rows,).
        discounts: Shape (rows,).
        support: The atoms z, evenly spaced, ascending. Shape (K,).

    Returns:
        Distributions of the same shape.
    """
    low, high, last = support[0], support[-1], len(support) - 1
    moved = torch.addcmul(rewards[:, None], discounts[:, None], support)
    # position in units of the spacing, between atoms 0 and K - 1; clamped again, because dividing may round beyond
    position = ((moved - low) * (last / (high - low))).clamp_(0.0, float(last))
    below = position.floor().clamp_(max=last - 1)
    above_share = position - below
    index = below.long().expand_as(probabilities)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(-1, index, probabilities * (1.0 - above_share))
    return projected.scatter_add_(-1, index + 1, probabilities * above_share)
