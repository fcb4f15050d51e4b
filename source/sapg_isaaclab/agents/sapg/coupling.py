"""Coupled Policy Optimization: what keeps followers near the leader (Coupled Policy Optimization, ICLR 2026).

Every follower i also learns to do what the leader L did where its own critic finds that good, as advantage-weighted
regression does: from all rows of the leader it takes the loss -w log pi_i(a|s) with w = min(exp(A_i / lambda), w_max).
No divergence is measured for it. The functions here are pure; rows come from
:func:`~sapg_isaaclab.agents.sapg.aggregation.relabel` as all relabelled rows do, with one-step advantages under the
follower's values.

The rows of an update form three kinds of strata, by number: on-policy rows of policy i (i), rows relabelled for policy
i (M + i), and the leader's rows that follower i imitates (2 M + i). The last kind teaches nobody's critic, entropy or
step size.
"""

from __future__ import annotations

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.agents.sapg.cfg import SapgCfg


def imitation_pairs(cfg: SapgCfg, layout: BlockLayout) -> list[tuple[int, int]]:
    """Who imitates whom.

    Args:
        cfg: Options.
        layout: Blocks.

    Returns:
        (follower, leader) for every follower; none with ``awac_scale=0``.
    """
    return [(block, layout.leader) for block in layout.followers] if cfg.awac_scale > 0.0 else []


def num_strata(cfg: SapgCfg) -> int:
    """Number of strata that the rows of an update may belong to.

    Args:
        cfg: Options.

    Returns:
        2 M, or 3 M where followers imitate the leader.
    """
    return (3 if cfg.awac_scale > 0.0 else 2) * cfg.num_blocks


def imitates(group: torch.Tensor, num_blocks: int) -> torch.Tensor:
    """Which rows are the leader's for a follower to imitate.

    Args:
        group: Stratum of every row. Shape (rows,).
        num_blocks: Number of policies M.

    Returns:
        Boolean, shape (rows,).
    """
    return group >= 2 * num_blocks


def awac_weights(advantages: torch.Tensor, *, temperature: float, maximum: float) -> torch.Tensor:
    """Weights min(exp(A / lambda), w_max) of the leader's rows for a follower.

    Args:
        advantages: One-step advantages under the follower's values, standardised with all others. Shape (rows,).
        temperature: lambda, in units of these advantages.
        maximum: w_max.

    Returns:
        Weights of shape (rows,), constants to the gradient.
    """
    return torch.exp(advantages / temperature).clamp(max=maximum)


def awac_loss(log_prob: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted likelihood of the leader's actions, as a loss: neither a ratio nor a trust region.

    Args:
        log_prob: Log-probability of the leader's action under the follower. Shape (rows,).
        weights: What :func:`awac_weights` returned. Shape (rows,).

    Returns:
        Loss of every row. Shape (rows,).
    """
    return -weights * log_prob


def penalised_advantages(
    advantages: torch.Tensor, log_prob: torch.Tensor, leader_log_prob: torch.Tensor, *, scale: float
) -> torch.Tensor:
    """Advantages A - scale (log pi_i - log pi_L) of followers' own rows.

    The gradient also runs through log pi_i here, outside of the ratio (released code).

    Args:
        advantages: Standardised advantages. Shape (rows,).
        log_prob: Log-probability of the action under the policy being updated. Shape (rows,).
        leader_log_prob: The same under the leader, without gradient. Shape (rows,).
        scale: ``leader_penalty``.

    Returns:
        Advantages of shape (rows,).
    """
    return advantages - scale * (log_prob - leader_log_prob)


def own_mean_weights(imitated: torch.Tensor, bounds: list[int], unit: int = 1, ranks: Ranks = ALONE) -> torch.Tensor:
    """Weights that turn the mean over a minibatch into the mean over those of its rows that are not imitated.

    Args:
        imitated: What :func:`imitates` returned, in the order of the minibatches. Shape (R,).
        bounds: Bounds of the minibatches, in units of ``unit`` rows.
        unit: Rows that stay together.
        ranks: Processes whose minibatches are learned from together.

    Returns:
        B / (number of other rows) for the other rows of a minibatch of B, 1 for those that are imitated. Shape (R,).
    """
    own = imitated.logical_not()
    parts = [own[start * unit : end * unit] for start, end in zip(bounds[:-1], bounds[1:])]
    counts = torch.stack([part.sum() for part in parts])
    counts = torch.stack([theirs for (theirs,) in ranks.gather_tensors(counts)]).sum(dim=0).clamp(min=1)
    weights = [torch.where(part, ranks.size * len(part) / count, 1.0) for part, count in zip(parts, counts)]
    return torch.cat(weights)


def imitation_statistics(
    advantages: torch.Tensor, imitated: torch.Tensor, log_mu: torch.Tensor, cfg: SapgCfg
) -> dict[str, torch.Tensor]:
    """How hard followers are pulled, and how far they are.

    Args:
        advantages: Standardised advantages of all rows of an update. Shape (R,).
        imitated: Which of them followers imitate. Shape (R,).
        log_mu: log pi_i(a|s) - log pi_L(a|s) of these rows before the update. Shape (K,).
        cfg: Options.

    Returns:
        ``mean_weight``; ``saturated_share``, the share of weights at their maximum; ``leader_divergence`` [nat], the
        mean of log pi_L - log pi_i over the leader's actions, which estimates KL(pi_L || pi_i). Scalars.
    """
    weights = awac_weights(advantages, temperature=cfg.awac_temperature, maximum=cfg.awac_weight_max)
    rows = imitated.sum()
    return {
        "mean_weight": (weights * imitated).sum() / rows,
        "saturated_share": ((weights >= cfg.awac_weight_max) & imitated).sum() / rows,
        "leader_divergence": -log_mu.mean(),
    }
