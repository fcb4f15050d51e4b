"""Policy and value networks conditioned on the policy block.

A row of input is ``[observation, e]`` where ``e`` is the one-hot identity of the row's policy, M columns. The paper
concatenates the latent phi of the policy to the observation, so the first layer computes W [x, phi] + b. Since
phi = e Phi for the table Phi of all latents, that equals [W_x, W_phi Phi^T] [x, e] + b: one matrix product without
gathering a row of Phi for every row of input, and without the scattered, non-deterministic sum of its gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from skrl.models.torch import Model
from torch import nn

from sapg_isaaclab.agents.sapg.losses import gaussian_log_prob

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class BlockTrunk(nn.Module):
    """Multi-layer perceptron whose first layer also takes the policy's latent.

    Args:
        num_inputs: Number D of observation columns.
        num_blocks: Number of policies M; with one the identity, if there is any, and the latent are left out.
        latent_dim: Size of a latent.
        hidden_sizes: Units of the hidden layers.
        activation: Name in :data:`ACTIVATIONS`.
    """

    def __init__(
        self, num_inputs: int, num_blocks: int, latent_dim: int, hidden_sizes: tuple[int, ...], activation: str
    ) -> None:
        super().__init__()
        self.num_inputs, self.conditioned = num_inputs, num_blocks > 1
        self.first = nn.Linear(num_inputs + (latent_dim if num_blocks > 1 else 0), hidden_sizes[0])
        layers: list[nn.Module] = [ACTIVATIONS[activation]()]
        for a, b in zip(hidden_sizes[:-1], hidden_sizes[1:]):
            layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
        self.rest = nn.Sequential(*layers)

    def forward(self, inputs: torch.Tensor, latents: torch.Tensor | None) -> torch.Tensor:
        """Features of the last hidden layer.

        Args:
            inputs: Observations with the identity of the policy. Shape (rows, D + M), or (rows, D) with one block.
            latents: Latent of every policy. Shape (M, latent_dim); not read with one block.

        Returns:
            Features of shape (rows, units).
        """
        weight = self.first.weight
        if not self.conditioned:
            inputs = inputs[:, : self.num_inputs]
        else:
            weight = torch.cat((weight[:, : self.num_inputs], weight[:, self.num_inputs :] @ latents.T), dim=1)
        return self.rest(F.linear(inputs, weight, self.first.bias))


class BlockActorCritic(Model):
    """Gaussian policies and values of all blocks in one module.

    Initialised as the official code does: PyTorch's default weights, zero biases, latents from N(0, 1).

    Args:
        observation_space: Box of D observations.
        state_space: Box of the privileged state; read only with ``critic_states``.
        action_space: Box of A actions.
        device: Where the parameters live.
        num_blocks: Number of policies M.
        latent_dim: Size of a latent.
        hidden_sizes: Units of the hidden layers.
        activation: Name in :data:`ACTIVATIONS`.
        separate: Whether the critic has a trunk of its own.
        critic_states: Whether that trunk sees the privileged state instead of the observation.
        critic_latent: Whether that trunk takes the latent too.
        std_mode: ``per_block``, ``shared`` or ``state``.
        initial_log_std: Logarithm of the standard deviation before training.
    """

    def __init__(
        self,
        observation_space,
        state_space,
        action_space,
        device,
        *,
        num_blocks: int,
        latent_dim: int,
        hidden_sizes: tuple[int, ...],
        activation: str,
        separate: bool,
        critic_states: bool,
        critic_latent: bool,
        std_mode: str,
        initial_log_std: float,
    ) -> None:
        super().__init__(
            observation_space=observation_space, state_space=state_space, action_space=action_space, device=device
        )
        self.num_blocks, self.std_mode = num_blocks, std_mode
        shape = (latent_dim, hidden_sizes, activation)
        self.latents = nn.Parameter(torch.randn(num_blocks, latent_dim)) if num_blocks > 1 else None
        self.actor = BlockTrunk(self.num_observations, num_blocks, *shape)
        critic_inputs = self.num_states if critic_states else self.num_observations
        self.critic = BlockTrunk(critic_inputs, num_blocks if critic_latent else 1, *shape) if separate else None
        self.mean = nn.Linear(hidden_sizes[-1], self.num_actions)
        self.value = nn.Linear(hidden_sizes[-1], 1)
        if std_mode == "state":
            self.log_std: nn.Module | nn.Parameter = nn.Linear(hidden_sizes[-1], self.num_actions)
        else:
            rows = num_blocks if std_mode == "per_block" else 1
            self.log_std = nn.Parameter(torch.full((rows, self.num_actions), float(initial_log_std)))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if std_mode == "state":
            nn.init.constant_(self.log_std.bias, initial_log_std)
        self.to(self.device)

    def evaluate(
        self, inputs: torch.Tensor, critic_inputs: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Policy and value in one pass.

        Args:
            inputs: Standardised observations with the identity of the policy. Shape (rows, D + M); (rows, D) for M = 1.
            critic_inputs: The same for the critic where it sees something else.

        Returns:
            Mean actions (rows, A), log standard deviations (rows, A) and standardised values (rows,).
        """
        features = self.actor(inputs, self.latents)
        mean, log_std = self._heads(features, inputs)
        if self.critic is not None:
            features = self.critic(inputs if critic_inputs is None else critic_inputs, self.latents)
        return mean, log_std, self.value(features).squeeze(-1)

    def policy(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Policy alone, for acting without a critic.

        Args:
            inputs: As for :meth:`evaluate`.

        Returns:
            Mean actions (rows, A) and log standard deviations (rows, A).
        """
        return self._heads(self.actor(inputs, self.latents), inputs)

    def _heads(self, features: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.mean(features)
        if self.std_mode == "state":
            return mean, self.log_std(features)
        if self.log_std.shape[0] == 1:
            return mean, self.log_std.expand_as(mean)
        return mean, inputs[:, self.num_observations :] @ self.log_std

    def identity(self, blocks: torch.Tensor) -> torch.Tensor | None:
        """One-hot identity of policies.

        Args:
            blocks: Block indices. Shape (rows,).

        Returns:
            One-hot rows of shape (rows, M); None with one block.
        """
        return F.one_hot(blocks, self.num_blocks).float() if self.num_blocks > 1 else None

    def compute(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Mean actions or values, skrl's way.

        Args:
            inputs: ``observations`` (rows, D), standardised; ``blocks`` (rows,), the leader's if missing.
            role: ``policy`` or ``value``.

        Returns:
            Mean actions (rows, A) with ``log_std``, or values (rows, 1).
        """
        observations = inputs["observations"]
        if self.num_blocks > 1:
            blocks = inputs.get("blocks", torch.zeros(len(observations), dtype=torch.long, device=observations.device))
            observations = torch.cat((observations, self.identity(blocks)), dim=1)
        mean, log_std, values = self.evaluate(observations, inputs.get("states"))
        return (values.unsqueeze(-1), {}) if role == "value" else (mean, {"log_std": log_std})

    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Sampled actions or values, skrl's way. See :meth:`compute`.

        Args:
            inputs: As for :meth:`compute`, and ``taken_actions`` (rows, A) to ask their log-probability.
            role: ``policy`` or ``value``.

        Returns:
            Actions (rows, A) with ``log_prob`` (rows, 1), ``mean_actions`` and ``log_std``; or values (rows, 1).
        """
        out, extra = self.compute(inputs, role=role)
        if role == "value":
            return out, extra
        actions = out + extra["log_std"].exp() * torch.randn_like(out)
        log_prob = gaussian_log_prob(inputs.get("taken_actions", actions), out, extra["log_std"])
        return actions, {"log_prob": log_prob.unsqueeze(-1), "mean_actions": out, **extra}
