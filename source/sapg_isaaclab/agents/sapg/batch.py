"""From a rollout and its relabelled rows to the minibatches of one update."""

from __future__ import annotations

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.sapg.aggregation import OffPolicyRows
from sapg_isaaclab.agents.sapg.cfg import SapgCfg


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
        chunks = _interleave(chunks, group[chunks[:, 0]])
    return chunks.flatten()


def _interleave(chunks: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Spread every stratum evenly over the order, so that any run of it holds all strata in proportion.

    The i-th of n chunks of a stratum is put at (i + 1/2) / n of the way.
    """
    member = group[:, None] == torch.arange(int(group.max()) + 1, device=group.device)
    rank = member.cumsum(dim=0).gather(1, group[:, None]).squeeze(1) - 0.5
    return chunks[torch.argsort(rank / member.sum(dim=0)[group], stable=True)]


def row_weights(group: torch.Tensor, layout: BlockLayout, cfg: SapgCfg) -> torch.Tensor | None:
    """Weight of every row in the loss, which is the mean of weight times row loss (Eq. 4).

    ``row_mean`` weighs on-policy rows 1 and off-policy rows lambda. ``policy_sum`` weighs a stratum of n rows R / n,
    times lambda where it is off-policy, so that the mean over all R rows is the sum over policies of their means.

    Args:
        group: Stratum of every row, block i on-policy as i and off-policy as M + i. Shape (R,).
        layout: Blocks.
        cfg: Options.

    Returns:
        Weights of shape (R,); None where all are 1.
    """
    blocks = layout.num_blocks
    if cfg.loss_reduction == "row_mean" and cfg.lambda_off == 1.0:
        return None
    scale = torch.ones(2 * blocks, device=group.device)
    scale[blocks:] = cfg.lambda_off
    if cfg.loss_reduction == "policy_sum":
        scale *= group.numel() / torch.bincount(group, minlength=2 * blocks).clamp(min=1)
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


def clean_first(resets: torch.Tensor, bounds: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Order the sequences of every minibatch so that those without a reset come first.

    Args:
        resets: Whether an episode begins within a sequence, after its first step. Shape (S,).
        bounds: Bounds of the minibatches in sequences.

    Returns:
        A permutation of the sequences within their minibatches, shape (S,), and the number of sequences without a
        reset in each minibatch. The numbers are read by the host once.
    """
    minibatch = torch.zeros(len(resets), dtype=torch.long, device=resets.device)
    minibatch[torch.tensor(bounds[1:-1], dtype=torch.long, device=resets.device)] = 1
    minibatch = minibatch.cumsum(0)
    order = torch.argsort(2 * minibatch + resets, stable=True)
    return order, torch.bincount(minibatch[~resets], minlength=len(bounds) - 1).tolist()
