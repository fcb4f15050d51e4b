"""From a rollout and its relabelled rows to the minibatches of one update."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.normalizer import standardize
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.returns import bootstrapped_rewards, gae, n_step_returns
from sapg_isaaclab.agents.sapg import coupling
from sapg_isaaclab.agents.sapg.aggregation import OffPolicyRows, joined
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.networks import Sequences
from sapg_isaaclab.agents.sapg.policies import Policies
from sapg_isaaclab.agents.sapg.recurrence import RolloutStates, episode_begins


@dataclasses.dataclass
class OnPolicyRows:
    """What the rows of a rollout are worth to the policies that collected them. All of shape (T, N).

    Attributes:
        rewards: Scaled rewards, with the bootstrap where time ran out.
        values: Values of the acting policy before the update.
        returns: Targets of the value, GAE plus value or Eq. 5.
        advantages: GAE.
    """

    rewards: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor
    advantages: torch.Tensor


def on_policy_rows(
    rollout: TensorDict, next_value: torch.Tensor, cfg: SapgCfg, bonus: torch.Tensor | None = None
) -> OnPolicyRows:
    """Targets and advantages of the rows of a rollout under the policies that collected them.

    Args:
        rollout: The rollout. Batch size [T, N].
        next_value: Value of the state after the last step. Shape (N,).
        cfg: Options.
        bonus: Rewards that only these rows' returns and advantages know of. Shape (T, N).

    Returns:
        Columns of shape (T, N).
    """
    rewards, values, terminated, truncated = (
        rollout[name].squeeze(-1) for name in ("rewards", "values", "terminated", "truncated")
    )
    bootstrap = {"none": None, "current_value": "values", "final_obs": "final_values"}[cfg.timeout_bootstrap]
    after_timeout = None if bootstrap is None else rollout[bootstrap].squeeze(-1)
    rewards = bootstrapped_rewards(rewards, terminated, truncated, gamma=cfg.discount_factor, bootstrap=after_timeout)
    chain = (rewards if bonus is None else rewards + bonus, values, next_value, terminated, truncated)
    advantages, returns = gae(*chain, gamma=cfg.discount_factor, lam=cfg.gae_lambda)
    if cfg.on_policy_target == "nstep":
        returns = n_step_returns(*chain, gamma=cfg.discount_factor, n=cfg.n_step)
    return OnPolicyRows(rewards, values, returns, advantages)


class Piece(NamedTuple):
    """Rows that go through the networks at once.

    Attributes:
        rows: The rows.
        sequences: Recurrent states and resets of their sequences; None without an LSTM.
    """

    rows: TensorDict
    sequences: Sequences | None


@dataclasses.dataclass
class Batch:
    """Everything an update visits, in the order it does.

    Columns of ``rows``, of batch size [R]:

    - ``observations`` (R, D) and, where the critic sees them, ``states`` (R, S): as they came, not standardised;
    - ``block`` (R,): whose policy and value are updated by the row;
    - ``group`` (R,): its stratum, block i as i, relabelled rows for block i as M + i, and the leader's rows that
      block i imitates as 2 M + i;
    - ``actions`` (R, A), ``log_prob`` (R,): what was done, and its log-probability under the policy that acted;
    - ``mean``, ``log_std`` (R, A): the policy from which divergence is measured, at first the one that acted;
    - ``values``, ``returns`` (R,): old values and targets, standardised if ``normalize_values``;
    - ``advantages`` (R,): standardised if ``normalize_advantages``;
    - ``log_mu`` (R,), with ``importance_clip=mu`` only: log of the weight mu, 0 in on-policy and imitated rows;
    - ``weights`` (R,), where they are not all 1: weight of the row in the loss.

    Attributes:
        rows: All rows.
        bounds: Bounds of the minibatches, in units of ``unit`` rows.
        max_units: Most units that go through the networks at once; larger minibatches do so in pieces.
        unit: Rows that stay together: L with an LSTM, else 1.
        sequences: Recurrent states (K, S, H) and resets (S, L) of the rows' sequences; None without an LSTM.
        num_unbroken: Number of sequences without a reset at the head of each minibatch.
    """

    rows: TensorDict
    bounds: list[int]
    max_units: int
    unit: int = 1
    sequences: Sequences | None = None
    num_unbroken: list[int] = dataclasses.field(default_factory=list)

    def minibatches(self) -> Iterator[tuple[TensorDict, list[Piece]]]:
        """One minibatch after the other: its rows, and the same in pieces of equal size. Views, nothing is copied."""
        for index, (start, end) in enumerate(zip(self.bounds[:-1], self.bounds[1:])):
            count = -(-(end - start) // self.max_units)
            cuts = [start + (end - start) * piece // count for piece in range(count + 1)]
            rows = self.rows[start * self.unit : end * self.unit]
            yield rows, [self._piece(a, b, index) for a, b in zip(cuts[:-1], cuts[1:])]

    def _piece(self, start: int, end: int, minibatch: int) -> Piece:
        rows = self.rows[start * self.unit : end * self.unit]
        if self.sequences is None:
            return Piece(rows, None)
        state, resets, _ = self.sequences
        unbroken = min(max(self.bounds[minibatch] + self.num_unbroken[minibatch] - start, 0), end - start)
        return Piece(rows, Sequences(state[:, start:end], resets[start:end], unbroken))


def assemble(
    memory: BlockMemory,
    on: OnPolicyRows,
    off: OffPolicyRows | None,
    states: RolloutStates | None,
    policies: Policies,
    ranks: Ranks,
    imitated: OffPolicyRows | None = None,
) -> Batch:
    """All rows of an update in the order they are visited: on-policy rows and relabelled ones, shuffled.

    Moments of values take in all old values and targets; those of imitated rows with ``awac_in_moments`` only.

    Args:
        memory: Filled rollout.
        on: What its rows are worth to the policies that collected them.
        off: Relabelled rows, if any.
        states: Recurrent states of the rollout; None without an LSTM.
        policies: Networks and moments.
        ranks: Processes that learn together.
        imitated: The leader's rows as followers see them, if they imitate it.

    Returns:
        What the learner goes through.
    """
    cfg, layout, data = policies.cfg, memory.layout, memory.rollout.flatten()
    steps, envs = memory.memory_size, memory.num_envs
    rows = torch.arange(steps * envs, device=on.values.device)
    blocks = group = rows % envs // layout.block_size
    columns = {name: getattr(on, name).flatten() for name in ("values", "returns", "advantages")}
    if cfg.importance_clip == "mu":
        columns["log_mu"] = torch.zeros_like(columns["values"])
    for first, part in enumerate((off, imitated), start=1):
        if part is not None:
            rows, blocks = torch.cat((rows, part.rows)), torch.cat((blocks, part.target))
            group = torch.cat((group, part.target + first * layout.num_blocks))
            columns = {name: torch.cat((column, getattr(part, name))) for name, column in columns.items()}
    if imitated is not None and "log_mu" in columns:
        columns["log_mu"][-len(imitated.rows) :].zero_()
    counted = None if imitated is None or cfg.awac_in_moments else len(rows) - len(imitated.rows)
    columns = _scaled(columns, policies, ranks, counted)
    weights = row_weights(group, layout, cfg)
    if weights is not None:
        columns["weights"] = weights
    columns |= {"group": group, "block": blocks}

    order = row_order(steps, envs, joined([off, imitated]), group, cfg)
    unit = cfg.sequence_length if policies.recurrent else 1
    bounds = minibatch_bounds(len(order), steps * envs, cfg, unit)
    num_unbroken: list[int] = []
    if policies.recurrent:
        resets = episode_begins(memory.rollout).flatten()[rows[order]].view(-1, unit)
        resets[:, 0].fill_(False)
        by_minibatch, num_unbroken = unbroken_first(resets.any(dim=1), bounds)
        order, resets = order.view(-1, unit)[by_minibatch].flatten(), resets[by_minibatch]
    rows = rows[order]
    columns = {name: column[order] for name, column in columns.items()}
    if imitated is not None and not cfg.awac_in_means:
        which = coupling.imitates(columns["group"], layout.num_blocks)
        own = coupling.own_mean_weights(which, bounds, unit, ranks)
        columns["weights"] = columns["weights"] * own if "weights" in columns else own
    for name in (*policies.scalers, "actions", "log_prob", "mean", "log_std"):
        columns[name] = data[name][rows]
    columns["log_prob"] = columns["log_prob"].squeeze(-1)
    sequences = Sequences(states.before_rows(rows[::unit]), resets) if policies.recurrent else None
    # the official remainder makes a larger minibatch: in pieces, it takes no more memory than the others
    return Batch(
        TensorDict(columns, batch_size=[len(order)]), bounds, bounds[1] - bounds[0], unit, sequences, num_unbroken
    )


def _scaled(
    columns: dict[str, torch.Tensor], policies: Policies, ranks: Ranks, counted: int | None
) -> dict[str, torch.Tensor]:
    """The same columns with values, targets and advantages standardised, and mu limited, as the options say.

    Moments of values take in the first ``counted`` rows, all if it is None.
    """
    cfg, scaler, columns = policies.cfg, policies.value_scaler, dict(columns)
    if cfg.importance_clip == "mu":
        columns["log_mu"] = columns["log_mu"].clamp(max=math.log(cfg.mu_max))
    if cfg.normalize_values:
        # in this order (official code): old values are standardised before the moments know the targets
        for name in ("values", "returns"):
            scaler.update(columns[name][:counted].unsqueeze(-1), ranks)
            columns[name] = scaler.normalize(columns[name])
    if cfg.normalize_advantages:
        columns["advantages"] = standardize(columns["advantages"], ranks)
    return columns


def row_order(steps: int, envs: int, off: OffPolicyRows | None, group: torch.Tensor, cfg: SapgCfg) -> torch.Tensor:
    """Order in which an update visits its rows.

    Positions 0 .. T N - 1 are the rollout's rows t N + n, those from T N on the relabelled rows. The unit of the
    shuffle is a fragment of ``sequence_length`` consecutive steps of one environment (official code). Without
    shuffling, rows are ordered by environment, then by step, which makes minibatches fixed groups of environments.

    Args:
        steps: Number of steps T.
        envs: Number of environments N.
        off: Relabelled rows, if any.
        group: Stratum of every position: a policy's on-policy or its off-policy rows. Shape (R,).
        cfg: Options.

    Returns:
        A permutation of all positions. Shape (R,).
    """
    fragments = [torch.arange(steps * envs, device=group.device).view(steps, envs).T]
    if off is not None:
        fragments.append(off.fragments + steps * envs)
    if not cfg.shuffle:
        return torch.cat([part.flatten() for part in fragments])
    length = cfg.sequence_length if min(part.shape[1] for part in fragments) > 1 else 1
    chunks = torch.cat([part.reshape(-1, length) for part in fragments])
    chunks = chunks[torch.randperm(len(chunks), device=chunks.device)]
    if cfg.stratified_minibatch:
        chunks = _interleave(chunks, group[chunks[:, 0]], coupling.num_strata(cfg))
    return chunks.flatten()


def _interleave(chunks: torch.Tensor, group: torch.Tensor, num_groups: int) -> torch.Tensor:
    """Spread every stratum evenly over the order, so that any run of it holds all strata in proportion.

    The i-th of n chunks of a stratum is put at (i + 1/2) / n of the way.
    """
    # members of a stratum side by side, each with its place among them: no table of chunks by strata
    together = torch.argsort(group, stable=True)
    counts = _members(group, num_groups)
    place = torch.arange(len(group), device=group.device) - (counts.cumsum(dim=0) - counts)[group[together]]
    rank = torch.empty_like(place).scatter_(0, together, place) + 0.5
    return chunks[torch.argsort(rank / counts[group], stable=True)]


def _members(group: torch.Tensor, num_groups: int) -> torch.Tensor:
    """Number of members of every stratum, shape (num_groups,), without the host waiting for it."""
    return group.new_zeros(num_groups).scatter_add_(0, group, torch.ones_like(group))


def row_weights(group: torch.Tensor, layout: BlockLayout, cfg: SapgCfg) -> torch.Tensor | None:
    """Weight of every row in the loss, which is the mean of weight times row loss (Eq. 4).

    ``row_mean`` weighs on-policy rows 1 and off-policy rows lambda. ``policy_sum`` weighs a stratum of n rows R / n,
    times lambda where it is off-policy, so that the mean over all R rows is the sum over policies of their means.
    Imitated rows are weighed as on-policy ones.

    Args:
        group: Stratum of every row, as :class:`Batch` has it. Shape (R,).
        layout: Blocks.
        cfg: Options.

    Returns:
        Weights of shape (R,); None where all are 1.
    """
    blocks = layout.num_blocks
    if cfg.loss_reduction == "row_mean" and cfg.lambda_off == 1.0:
        return None
    strata = coupling.num_strata(cfg)
    scale = torch.ones(strata, device=group.device)
    scale[blocks : 2 * blocks].fill_(cfg.lambda_off)
    if cfg.loss_reduction == "policy_sum":
        scale *= group.numel() / _members(group, strata).clamp(min=1)
    return scale[group]


def minibatch_bounds(rows: int, on_policy_rows: int, cfg: SapgCfg, unit: int = 1) -> list[int]:
    """Where the minibatches begin and end, counted in units of rows that must not be cut apart (sequences).

    The on-policy rows alone fill ``mini_batches`` of them. ``last``: as many minibatches of that size as fit, the last
    one takes the remainder (official code). ``even``: the same number of minibatches, sizes differing by one at most;
    the first is as large as any.

    Args:
        rows: Number R of all rows.
        on_policy_rows: Number T N of rows in the rollout.
        cfg: Options.
        unit: Rows of a unit; L with an LSTM.

    Returns:
        Ascending bounds from 0 to R / unit.
    """
    rows, on_policy_rows = rows // unit, on_policy_rows // unit
    size = min(cfg.mini_batch_size // unit or on_policy_rows // cfg.mini_batches, on_policy_rows)
    count = max(1, rows // size)
    if cfg.mini_batch_remainder == "even":
        return [-(-rows * i // count) for i in range(count + 1)]
    return [size * i for i in range(count)] + [rows]


def unbroken_first(resets: torch.Tensor, bounds: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Order the sequences of every minibatch so that those without a reset come first.

    Args:
        resets: Whether an episode begins within a sequence, after its first step. Shape (S,).
        bounds: Bounds of the minibatches in sequences.

    Returns:
        A permutation of the sequences within their minibatches, shape (S,), and the number of sequences without a
        reset in each minibatch. The numbers are read by the host once.
    """
    minibatch = torch.zeros(len(resets), dtype=torch.long, device=resets.device)
    for start in bounds[1:-1]:
        minibatch[start:] += 1
    order = torch.argsort(2 * minibatch + resets, stable=True)
    counts = minibatch.new_zeros(len(bounds) - 1).scatter_add_(0, minibatch, resets.logical_not().long())
    return order, counts.tolist()
