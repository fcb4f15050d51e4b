"""Aggregation: whose data a policy also learns from, and what those rows look like to it.

A pair (target, source) means: the rows that block ``source`` collected are also used to update policy ``target``.
Observations, actions and behaviour log-probabilities of such rows stay as they are; values, targets and advantages are
those of the target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.returns import one_step_targets
from sapg_isaaclab.agents.sapg.cfg import SapgCfg

Pair = tuple[int, int]
EvaluateAs = Callable[[int, int], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def draw_pairs(cfg: SapgCfg, layout: BlockLayout, generator: torch.Generator) -> list[Pair]:
    """Draw the (target, source) pairs of the next update (sections 4.2 and 4.3; official code for the draw).

    Leader-follower with ``subsample=block`` draws k = int(off_policy_ratio) followers without replacement. Symmetric
    aggregation draws k cyclic shifts that all policies share, or k sources for each policy. With other values of
    ``subsample`` every possible source takes part, and rows are drawn from their union later.

    Args:
        cfg: Options.
        layout: Blocks.
        generator: Host generator, seeded alike on all ranks so that they draw alike.

    Returns:
        Pairs of block indices; none with one block or without aggregation.
    """
    blocks, leader = layout.num_blocks, layout.leader
    if blocks == 1 or cfg.aggregation == "none":
        return []
    if cfg.subsample != "block":
        targets = range(blocks) if cfg.aggregation == "symmetric" else (leader,)
        return [(target, source) for target in targets for source in range(blocks) if source != target]
    count = min(blocks - 1, int(cfg.off_policy_ratio))

    def shifts() -> list[int]:
        return (torch.randperm(blocks - 1, generator=generator)[:count] + 1).tolist()

    if cfg.aggregation == "leader_follower":
        return [(leader, (leader + shift) % blocks) for shift in shifts()]
    if cfg.symmetric_pairing == "shift":
        return [((source + shift) % blocks, source) for shift in shifts() for source in range(blocks)]
    return [(target, (target + shift) % blocks) for target in range(blocks) for shift in shifts()]


@dataclasses.dataclass
class OffPolicyRows:
    """Relabelled rows.

    Attributes:
        rows: Index t N + n of the row in the rollout. Shape (R,).
        target: Block whose policy is updated. Shape (R,).
        values: Values of the target before the update. Shape (R,).
        returns: One-step targets of Eq. 6 under the target's values. Shape (R,).
        advantages: ``returns - values``. Shape (R,).
        log_mu: Log of pi_target,old / pi_source for the taken action (Eq. 3). Shape (R,).
        fragments: Positions 0 .. R - 1 as runs of consecutive steps of one environment. Shape (fragments, steps).
    """

    rows: torch.Tensor
    target: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor
    advantages: torch.Tensor
    log_mu: torch.Tensor
    fragments: torch.Tensor


def joined(parts: list[OffPolicyRows | None]) -> OffPolicyRows | None:
    """Relabelled rows of several kinds, one after the other.

    Args:
        parts: The kinds; None for one without rows.

    Returns:
        All rows, in runs as short as the shortest; None if there are none.
    """
    kinds = [part for part in parts if part is not None]
    if len(kinds) < 2:
        return kinds[0] if kinds else None
    columns = {
        field.name: torch.cat([getattr(kind, field.name) for kind in kinds])
        for field in dataclasses.fields(OffPolicyRows)
        if field.name != "fragments"
    }
    positions = torch.arange(len(columns["rows"]), device=columns["rows"].device)
    return OffPolicyRows(**columns, fragments=positions.view(-1, min(kind.fragments.shape[1] for kind in kinds)))


def relabel(
    memory: BlockMemory,
    pairs: list[Pair],
    rewards: torch.Tensor,
    evaluate_as: EvaluateAs,
    *,
    gamma: float,
    rows_per_target: int | None = None,
    run_length: int = 1,
) -> OffPolicyRows | None:
    """Re-evaluate the sources' rows under the target policies.

    Only the blocks in ``pairs`` are evaluated.

    Args:
        memory: Filled rollout with ``actions``, ``log_prob``, ``terminated`` and ``truncated``.
        pairs: (target, source) pairs, ordered by target.
        rewards: Scaled rewards including the behaviour policy's time-out bootstrap, as in the official code. (T, N).
        evaluate_as: Maps a pair to what the target makes of the source's rows: mean (T, B, A), log-std (T, B, A) and
            unstandardised values (T + 1, B), the last ones of the state after the rollout.
        gamma: Discount factor.
        rows_per_target: How many rows of each target to keep, drawn uniformly without replacement from the union of
            its sources; None keeps all.
        run_length: Rows are kept in runs of so many consecutive steps.

    Returns:
        The relabelled rows; None without pairs.
    """
    if not pairs:
        return None
    steps, envs = memory.memory_size, memory.num_envs
    grid = torch.arange(steps * envs, device=rewards.device).view(steps, envs)
    parts: list[tuple[torch.Tensor, ...]] = []
    for target, source in pairs:
        where = memory.layout.slice(source)
        data = memory.rollout[:, where]
        mean, log_std, values = evaluate_as(target, source)
        done = (data["terminated"] | data["truncated"]).squeeze(-1)
        returns = one_step_targets(rewards[:, where], values[:-1], values[-1], done, gamma=gamma)
        log_mu = gaussian_log_prob(data["actions"], mean, log_std) - data["log_prob"].squeeze(-1)
        rows = grid[:, where]
        columns = (rows, torch.full_like(rows, target), values[:-1], returns, returns - values[:-1], log_mu)
        # environment by environment, so that consecutive steps lie side by side
        parts.append(tuple(column.T.flatten() for column in columns))
    columns = [torch.cat(column) for column in zip(*parts)]
    positions = torch.arange(columns[0].numel(), device=rewards.device)
    if rows_per_target is None:
        return OffPolicyRows(*columns, positions.view(-1, steps))  # pyright: ignore  # as many as its fields
    unions = positions.view(len(dict(pairs)), -1, run_length)
    count = rows_per_target // run_length
    keep = torch.cat([union[torch.randperm(len(union), device=union.device)[:count]] for union in unions])
    kept = [column[keep.flatten()] for column in columns]
    return OffPolicyRows(*kept, positions[: keep.numel()].view_as(keep))  # pyright: ignore  # likewise
