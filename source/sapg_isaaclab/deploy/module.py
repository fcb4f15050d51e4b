"""One policy as a module of its own: normaliser, latent and networks of a block baked in.

The first layer computes W_x x + W_phi phi + b. For one policy its latent phi is a constant, so W_phi phi goes into the
bias, and what is left is an ordinary network of the observation.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.networks import BlockActorCritic, BlockTrunk


class Standardize(nn.Module):
    """Standardisation by moments that no longer move.

    Args:
        moments: The moments after training.
    """

    def __init__(self, moments: RunningMoments) -> None:
        super().__init__()
        self.clamp = float(moments.clamp)
        self.register_buffer("mean", moments.mean.float())
        self.register_buffer("std", (moments.variance + moments.epsilon).sqrt().float())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Standardise rows (N, D), and clamp them as in training."""
        return ((rows - self.mean) / self.std).clamp(-self.clamp, self.clamp)  # pyright: ignore  # buffers


class FeedForwardPolicy(nn.Module):
    """Observations to mean actions.

    Args:
        layers: From observations (N, D) to mean actions (N, A).
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Mean actions (N, A), not clamped, of observations (N, D) as the environment gives them."""
        return self.layers(observations)


class RecurrentPolicy(nn.Module):
    """Observations and the state of an LSTM to mean actions and the next state; zeros begin an episode.

    Args:
        before: From observations (N, D) to the inputs of the LSTM.
        cell: One step of the LSTM, H units.
        after: From hidden states (N, H) to mean actions (N, A).
    """

    def __init__(self, before: nn.Module, cell: nn.LSTMCell, after: nn.Module) -> None:
        super().__init__()
        self.before, self.cell, self.after = before, cell, after

    def forward(
        self, observations: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean actions (N, A) and the next state, of observations (N, D) and the state: hidden and cell (N, H)."""
        hidden, cell = self.cell(self.before(observations), (hidden, cell))
        return self.after(hidden), hidden, cell


PolicyModule = FeedForwardPolicy | RecurrentPolicy


def policy_module(agent: SAPG | DexPBT | PQL, block: int) -> PolicyModule:
    """Bake one policy of an agent.

    Args:
        agent: The agent; it stays as it is.
        block: Whose policy.

    Returns:
        The module on the CPU, without gradients.

    Raises:
        ValueError: If there is no such block.
    """
    agent.layout.check_block(block)
    if isinstance(agent, DexPBT):
        return policy_module(agent.learners[block], 0)
    if isinstance(agent, PQL):
        scale = Standardize(agent.scaler) if agent.cfg.normalize_observations else nn.Identity()
        module: PolicyModule = FeedForwardPolicy(nn.Sequential(scale, *copy.deepcopy(agent.actor.net), nn.Tanh()))
    else:
        policies = agent.policies
        moments = cast(RunningMoments, policies.scalers["observations"])
        scale = Standardize(moments) if policies.cfg.normalize_observations else nn.Identity()
        module = _bake(policies.model, block, scale)
    return module.cpu().requires_grad_(False).eval()


def _bake(model: BlockActorCritic, block: int, scale: nn.Module) -> PolicyModule:
    trunk, head = model.actor, copy.deepcopy(model.mean)
    latent = model.latents[block] if trunk.conditioned else None
    if trunk.lstm is None:
        return FeedForwardPolicy(nn.Sequential(scale, _first_layer(trunk, latent), *_hidden_layers(trunk), head))
    norm = [] if trunk.norm is None else [copy.deepcopy(trunk.norm)]
    if trunk.lstm_first:
        cell = _cell(trunk.lstm, trunk.num_inputs, latent)
        return RecurrentPolicy(scale, cell, nn.Sequential(*norm, *copy.deepcopy(trunk.rest), head))
    before = nn.Sequential(scale, _first_layer(trunk, latent), *_hidden_layers(trunk))
    return RecurrentPolicy(before, _cell(trunk.lstm, trunk.lstm.input_size, None), nn.Sequential(*norm, head))


def _hidden_layers(trunk: BlockTrunk) -> list[nn.Module]:
    return [copy.deepcopy(trunk.act), *copy.deepcopy(trunk.rest)]


@torch.no_grad()
def _first_layer(trunk: BlockTrunk, latent: torch.Tensor | None) -> nn.Linear:
    weight, bias = _fold(trunk.first.weight, trunk.first.bias, trunk.num_inputs, latent)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


@torch.no_grad()
def _cell(lstm: nn.LSTM, num_inputs: int, latent: torch.Tensor | None) -> nn.LSTMCell:
    parameters = dict(lstm.named_parameters())
    weight, bias = _fold(parameters["weight_ih_l0"], parameters["bias_ih_l0"], num_inputs, latent)
    cell = nn.LSTMCell(num_inputs, lstm.hidden_size)
    cell.weight_ih.copy_(weight)
    cell.bias_ih.copy_(bias)
    cell.weight_hh.copy_(parameters["weight_hh_l0"])
    cell.bias_hh.copy_(parameters["bias_hh_l0"])
    return cell


def _fold(
    weight: torch.Tensor, bias: torch.Tensor, num_inputs: int, latent: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight of the observation alone (units, D), and the bias with the latent's part in it (units,)."""
    if latent is None:
        return weight, bias
    # summed in double precision: what the latent adds is rounded once
    return weight[:, :num_inputs], (bias.double() + weight[:, num_inputs:].double() @ latent.double()).float()
