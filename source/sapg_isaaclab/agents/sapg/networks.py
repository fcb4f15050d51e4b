"""Policy and value networks conditioned on the policy block.

A row of input is ``[observation, e]`` where ``e`` is the identity of the row's policy, E columns. The paper
concatenates the latent phi of the policy to the observation, so the first layer computes W [x, phi] + b.

With at most as many policies as a latent has numbers, ``e`` is one-hot, E = M. Since phi = e Phi for the table Phi of
all latents, the first layer equals [W_x, W_phi Phi^T] [x, e] + b: one matrix product without gathering a row of Phi for
every row of input. With more policies that product would grow with M beyond the paper's: ``e`` is the index of the
policy, E = 1, and its row of the biases Phi W_phi^T + b, one for each policy, is gathered. So a row costs the same
however many policies there are. An LSTM in front takes phi itself, either way.

Recurrent networks see the same rows, sequence by sequence: S sequences of L steps are S L rows, step after step. How
many sequences there are follows from the state they start in. States are (K, S, H), K first, so that the parts which an
LSTM asks for, hidden and cell, are views of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from skrl.models.torch import Model
from torch import nn

from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.mlp import ACTIVATIONS, mlp


class Sequences(NamedTuple):
    """What a recurrent network must know of its rows besides the rows themselves.

    Attributes:
        state: Recurrent state before the first step of each sequence. Shape (K, S, H).
        resets: Whether an episode begins with the row, so that the state is zeroed before it. Shape (S, L); None where
            none does.
        num_unbroken: The first so many sequences hold no reset and are unrolled in one call; the others step by step.
    """

    state: torch.Tensor
    resets: torch.Tensor | None = None
    num_unbroken: int = 0


class Outputs(NamedTuple):
    """What the networks say of their rows.

    Attributes:
        mean: Mean actions. Shape (rows, A).
        log_std: Log standard deviations. Shape (rows, A).
        values: Standardised values. Shape (rows,).
        state: Recurrent state after the last step of each sequence. Shape (K, S, H); None without recurrence.
    """

    mean: torch.Tensor
    log_std: torch.Tensor
    values: torch.Tensor
    state: torch.Tensor | None


def unroll(lstm: nn.LSTM, inputs: torch.Tensor, sequences: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """Run an LSTM over sequences, zeroing its state wherever an episode begins.

    Sequences without such a step, nearly all of them, take one call. Cutting every sequence at the union of all resets
    would be step by step for thousands of environments, and packing is slower than stepping on a CPU.

    Args:
        lstm: Single-layer LSTM with ``batch_first``.
        inputs: Shape (S, L, F).
        sequences: Start states of shape (2, S, H) (hidden, cell), resets and the number of unbroken sequences.

    Returns:
        Hidden states (S, L, H) and the state (2, S, H) after the last step.
    """
    state, resets, unbroken = sequences
    if resets is None:
        unbroken = len(inputs)
    outputs, finals = [], []
    if unbroken:
        out, after = lstm(inputs[:unbroken], (state[0:1, :unbroken], state[1:2, :unbroken]))
        outputs.append(out)
        finals.append(torch.cat(after))
    if unbroken < len(inputs):
        h, c = state[0:1, unbroken:], state[1:2, unbroken:]
        keep = resets[unbroken:].logical_not().to(inputs.dtype).T[:, None, :, None]
        steps = []
        for t in range(inputs.shape[1]):
            out, (h, c) = lstm(inputs[unbroken:, t : t + 1], (h * keep[t], c * keep[t]))
            steps.append(out)
        outputs.append(torch.cat(steps, dim=1))
        finals.append(torch.cat((h, c)))
    if len(outputs) == 1:
        return outputs[0], finals[0]
    return torch.cat(outputs), torch.cat(finals, dim=1)


def of_policies(table: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    """Row of a table for every row of input.

    Args:
        table: A row for every policy. Shape (M, columns).
        identity: Identities as :meth:`BlockActorCritic.identity` has them. Shape (rows, E).

    Returns:
        Shape (rows, columns).
    """
    if identity.shape[1] == len(table):
        return identity @ table
    return F.embedding(identity.squeeze(1).long(), table)


class BlockTrunk(nn.Module):
    """Hidden layers of a policy or a value, the first of which also takes the policy's latent.

    Args:
        num_inputs: Number D of observation columns.
        num_blocks: Number of policies M; with one the identity, if there is any, and the latent are left out.
        latent_dim: Size of a latent.
        hidden_sizes: Units of the hidden layers.
        activation: Name in :data:`ACTIVATIONS`.
        rnn_units: Units H of an LSTM; 0 for none.
        rnn_before_mlp: Whether the LSTM comes before the other hidden layers (official code) or after (paper).
        rnn_layer_norm: Whether a layer norm follows the LSTM.
    """

    lstm: Any
    norm: Any
    first: Any

    def __init__(
        self,
        num_inputs: int,
        num_blocks: int,
        latent_dim: int,
        hidden_sizes: tuple[int, ...],
        activation: str,
        rnn_units: int = 0,
        rnn_before_mlp: bool = True,
        rnn_layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.num_inputs, self.conditioned = num_inputs, num_blocks > 1
        width = num_inputs + (latent_dim if self.conditioned else 0)
        self.lstm = self.norm = self.first = None
        self.lstm_first = rnn_units > 0 and rnn_before_mlp
        self.num_features = hidden_sizes[-1]
        if not self.lstm_first:
            self.first = nn.Linear(width, hidden_sizes[0])
            self.act = ACTIVATIONS[activation]()
            self.rest = mlp(hidden_sizes, activation)
        if rnn_units:
            self.lstm = nn.LSTM(width if self.lstm_first else hidden_sizes[-1], rnn_units, batch_first=True)
            self.norm = nn.LayerNorm(rnn_units) if rnn_layer_norm else None
            if self.lstm_first:
                self.rest = mlp((rnn_units, *hidden_sizes), activation)
            else:
                self.num_features = rnn_units

    def forward(
        self, inputs: torch.Tensor, latents: torch.Tensor | None, sequences: Sequences | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features of the last hidden layer.

        Args:
            inputs: Observations with the identity of the policy. Shape (rows, D + E), or (rows, D) with one block.
            latents: Latent of every policy. Shape (M, latent_dim); not read with one block.
            sequences: State (2, S, H) and resets of the rows' sequences; not read without an LSTM.

        Returns:
            Features of shape (rows, num_features), and the state (2, S, H) after the last step, None without an LSTM.
        """
        if self.lstm_first:
            x = inputs[:, : self.num_inputs]
            if self.conditioned:
                latent = of_policies(latents, inputs[:, self.num_inputs :])  # pyright: ignore  # several have them
                x = torch.cat((x, latent), dim=1)
            x, state = self._recur(x, sequences)  # pyright: ignore  # an LSTM has them
            return self.rest(x), state
        x = self.rest(self.act(self._condition(inputs, latents)))
        return (x, None) if self.lstm is None else self._recur(x, sequences)  # pyright: ignore  # likewise

    def _condition(self, inputs: torch.Tensor, latents: Any) -> torch.Tensor:
        weight = self.first.weight
        if not self.conditioned:
            inputs = inputs[:, : self.num_inputs]
        elif inputs.shape[1] - self.num_inputs != len(latents):
            inputs, identity = inputs.tensor_split((self.num_inputs,), dim=1)
            biases = torch.addmm(self.first.bias, latents, weight[:, self.num_inputs :].T)
            return torch.addmm(of_policies(biases, identity), inputs, weight[:, : self.num_inputs].T)
        else:
            weight = torch.cat((weight[:, : self.num_inputs], weight[:, self.num_inputs :] @ latents.T), dim=1)
        return F.linear(inputs, weight, self.first.bias)

    def _recur(self, x: torch.Tensor, sequences: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
        out, state = unroll(self.lstm, x.view(sequences.state.shape[1], -1, x.shape[-1]), sequences)
        out = out.flatten(0, 1)
        return (out if self.norm is None else self.norm(out)), state


class BlockActorCritic(Model):
    """Gaussian policies and values of all blocks in one module.

    Initialised as the official code does: PyTorch's default weights, zero biases, latents from N(0, 1),
    unless ``initial_latent_std`` says otherwise.

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
        critic_hidden_sizes: Units of its hidden layers; None for ``hidden_sizes``.
        critic_rnn_units: Units of its LSTM, 0 for none; None for those of the policy.
        std_mode: ``per_block``, ``shared`` or ``state``.
        initial_log_std: Logarithm of the standard deviation before training.
        initial_latent_std: Standard deviation of the latents before training.
        rnn: Keyword arguments ``rnn_...`` of :class:`BlockTrunk`.
    """

    identities: torch.Tensor
    log_std: Any  # a layer above the features, or a parameter

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
        initial_latent_std: float = 1.0,
        critic_hidden_sizes: tuple[int, ...] | None = None,
        critic_rnn_units: int | None = None,
        **rnn: Any,
    ) -> None:
        super().__init__(
            observation_space=observation_space, state_space=state_space, action_space=action_space, device=device
        )
        self.num_blocks, self.std_mode = num_blocks, std_mode
        latents = initial_latent_std * torch.randn(num_blocks, latent_dim) if num_blocks > 1 else None
        self.latents = None if latents is None else nn.Parameter(latents)
        self.actor = BlockTrunk(self.num_observations, num_blocks, latent_dim, hidden_sizes, activation, **rnn)
        self.critic = None
        if separate:
            inputs = self.num_states if critic_states else self.num_observations
            blocks, sizes = num_blocks if critic_latent else 1, critic_hidden_sizes or hidden_sizes
            own = rnn if critic_rnn_units is None else {**rnn, "rnn_units": critic_rnn_units}
            self.critic = BlockTrunk(inputs, blocks, latent_dim, sizes, activation, **own)
        features = self.actor.num_features
        self.mean = nn.Linear(features, self.num_actions)
        self.value = nn.Linear((self.critic or self.actor).num_features, 1)
        if std_mode == "state":
            self.log_std = nn.Linear(features, self.num_actions)
        else:
            rows = num_blocks if std_mode == "per_block" else 1
            self.log_std = nn.Parameter(torch.full((rows, self.num_actions), float(initial_log_std)))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if std_mode == "state":
            nn.init.constant_(self.log_std.bias, initial_log_std)
        # whose row it is: row i is the identity of policy i
        indices = torch.arange(num_blocks, dtype=torch.get_default_dtype()).unsqueeze(1)
        one_hot = num_blocks <= latent_dim
        self.register_buffer("identities", torch.eye(num_blocks) if one_hot else indices, persistent=False)
        self.to(self.device)

    @property
    def state_shape(self) -> tuple[int, int] | None:
        """Shape (K, H) of the recurrent state of a row: hidden and cell of each LSTM. None without recurrence.

        Parts of an LSTM with fewer units than the other are filled up with zeros.
        """
        if self.actor.lstm is None:
            return None
        units = [self.actor.lstm.hidden_size]
        if self.critic is not None and self.critic.lstm is not None:
            units.append(self.critic.lstm.hidden_size)
        return 2 * len(units), max(units)

    @property
    def values_recur(self) -> bool:
        """Whether values depend on a recurrent state."""
        return (self.critic or self.actor).lstm is not None

    def initial_state(self, rows: int) -> torch.Tensor | None:
        """Recurrent state at the begin of an episode.

        Args:
            rows: Number of rows.

        Returns:
            Zeros of shape (K, rows, H); None without recurrence.
        """
        if self.state_shape is None:
            return None
        parts, units = self.state_shape
        return torch.zeros(parts, rows, units, device=self.identities.device)

    def evaluate(
        self,
        inputs: torch.Tensor,
        critic_inputs: torch.Tensor | None = None,
        sequences: Sequences | None = None,
    ) -> Outputs:
        """Policy and value in one pass.

        Args:
            inputs: Standardised observations with the identity of the policy. Shape (rows, D + E); (rows, D) for M = 1.
            critic_inputs: The same for the critic where it sees something else.
            sequences: State (K, S, H) and resets of the rows' sequences, for recurrent networks.

        Returns:
            Mean actions, log standard deviations, standardised values, and the state after the last step.
        """
        features, state = self.actor(inputs, self.latents, _part(sequences, 0, self.actor))
        mean, log_std = self._heads(features, inputs)
        if self.critic is not None:
            seen = inputs if critic_inputs is None else critic_inputs
            features, critic_state = self.critic(seen, self.latents, _part(sequences, 1, self.critic))
            if sequences is not None and state is not None:
                state = _joined(state, critic_state, sequences.state.shape[-1])
        return Outputs(mean, log_std, self.value(features).squeeze(-1), state)

    def policy(
        self, inputs: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Policy alone, one step, for acting without a critic.

        Args:
            inputs: As for :meth:`evaluate`. Shape (rows, D + E).
            state: Recurrent state. Shape (K, rows, H); None without recurrence. The critic's part is left as it is.

        Returns:
            Mean actions (rows, A), log standard deviations (rows, A) and the state after the step.
        """
        sequences = None if state is None else Sequences(state)
        features, after = self.actor(inputs, self.latents, _part(sequences, 0, self.actor))
        if state is not None:
            after = _joined(after, state[2:], state.shape[-1])
        return (*self._heads(features, inputs), after)

    def _heads(self, features: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.mean(features)
        if self.std_mode == "state":
            return mean, self.log_std(features)
        if self.log_std.shape[0] == 1:
            return mean, self.log_std.expand_as(mean)
        # a choice, not a computation: half precision must not round it
        with torch.autocast(mean.device.type, enabled=False):
            return mean, of_policies(self.log_std, inputs[:, self.num_observations :])

    def identity(self, blocks: torch.Tensor) -> torch.Tensor | None:
        """Identity of policies, as the networks take it.

        Args:
            blocks: Block indices. Shape (rows,).

        Returns:
            Shape (rows, E): one-hot with E = M, or the index with E = 1 where there are more policies than numbers in
            a latent. None with one block.
        """
        return self.identities[blocks] if self.num_blocks > 1 else None

    def compute(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Mean actions or values, skrl's way.

        Args:
            inputs: ``observations`` (rows, D), standardised; ``states`` (rows, S) likewise, where the critic sees
                them; ``blocks`` (rows,), the leader's if missing.
            role: ``policy`` or ``value``.

        Returns:
            Mean actions (rows, A) with ``log_std``, or values (rows, 1). A recurrent network takes a single step from
            ``state`` (K, rows, H), zero if missing, and returns the next one as ``state``.
        """
        observations, states = inputs["observations"], inputs.get("states")
        if self.num_blocks > 1:
            blocks = inputs.get("blocks", torch.zeros(len(observations), dtype=torch.long, device=observations.device))
            observations = torch.cat((observations, self.identities[blocks]), dim=1)
            states = None if states is None else torch.cat((states, self.identities[blocks]), dim=1)
        sequences = None
        if self.state_shape is not None:
            sequences = Sequences(inputs.get("state", self.initial_state(len(observations))))
        out = self.evaluate(observations, states, sequences)
        extra = {} if out.state is None else {"state": out.state}
        return (out.values.unsqueeze(-1), extra) if role == "value" else (out.mean, {"log_std": out.log_std, **extra})

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


def _part(sequences: Sequences | None, place: int, trunk: BlockTrunk) -> Sequences | None:
    """Sequences with the state of one trunk, shape (2, S, H); None if it has no LSTM."""
    if sequences is None or trunk.lstm is None:
        return None
    state, units = sequences.state[2 * place : 2 * place + 2], trunk.lstm.hidden_size
    if units < state.shape[-1]:
        state = state[..., :units].contiguous()  # cuDNN takes no other
    return sequences._replace(state=state)


def _joined(state: torch.Tensor, other: torch.Tensor | None, units: int) -> torch.Tensor:
    """State of both trunks, shape (K, S, units)."""
    parts = [part for part in (state, other) if part is not None and len(part)]
    parts = [part if part.shape[-1] == units else F.pad(part, (0, units - part.shape[-1])) for part in parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
