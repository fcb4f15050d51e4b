"""What an update reports of itself, brought to the host in one transfer."""

from __future__ import annotations

import torch

from sapg_isaaclab.agents.gaussian import gaussian_entropy
from sapg_isaaclab.agents.sapg.aggregation import Pair
from sapg_isaaclab.agents.sapg.learner import LOSSES, Step
from sapg_isaaclab.block_tags import block_tags


def importance_statistics(log_mu: torch.Tensor, *, clip: float) -> dict[str, torch.Tensor]:
    """How much the relabelled rows can still teach their target.

    Args:
        log_mu: Log of pi_target,old / pi_source for the taken actions. Shape (R,).
        clip: Half-width of the trust region.

    Returns:
        ``effective_sample_share`` (sum w)^2 / (R sum w^2), ``mean_ratio`` and ``unclipped_share``, the share of rows
        whose ratio lies in the trust region around 1. Scalars, finite for any ratio.
    """
    log_mu = log_mu.double()
    weights = (log_mu - log_mu.max()).exp()  # the share does not change with the scale, and cannot overflow
    ratio = log_mu.clamp(max=600.0).exp()
    return {
        "effective_sample_share": weights.sum().square() / (weights.numel() * weights.square().sum()),
        "mean_ratio": ratio.mean(),
        "unclipped_share": ((ratio - 1.0).abs() < clip).double().mean(),
    }


def learned(steps: list[Step], *, off_policy: bool) -> dict[str, torch.Tensor]:
    """Means over the steps of an update.

    Args:
        steps: What each step reports of itself.
        off_policy: Whether the update had relabelled rows.

    Returns:
        Scalars on the device by tag. A step that was skipped, because gradients overflowed in half precision, has no
        gradient norm: the mean runs over the others, and ``Policy/skipped_steps`` counts it.
    """
    columns = Step(*(torch.stack(column) for column in zip(*steps)))
    taken = columns.skipped.logical_not()
    numbers = dict(zip(LOSSES, columns.losses.mean(dim=0)))
    numbers |= {"Policy/kl": columns.kl.mean(), "Policy/kl_on_policy": columns.kl_on_policy.mean()}
    if off_policy:
        numbers["Policy/kl_off_policy"] = columns.kl_off_policy.mean()
    norms = torch.where(taken, columns.grad_norm, 0.0).sum()
    numbers["Policy/grad_norm"] = norms / taken.sum().clamp(min=1)
    numbers["Policy/skipped_steps"] = columns.skipped.sum()
    return numbers


def report(
    steps: list[Step],
    learning_rate: torch.Tensor,
    log_std: torch.Tensor,
    pairs: list[Pair],
    log_mu: torch.Tensor | None,
    *,
    clip: float,
    more: dict[str, torch.Tensor] | None = None,
) -> dict[str, float]:
    """Numbers of an update by tag.

    Args:
        steps: What each step of the update reports of itself.
        learning_rate: Step size, scalar.
        log_std: Log standard deviations of every policy. Shape (M, A).
        pairs: (target, source) pairs of the update.
        log_mu: Importance weights of the relabelled rows, if there are any. Shape (R,).
        clip: Half-width of the trust region.
        more: Further scalars on the device by tag.

    Returns:
        Numbers on the host.
    """
    numbers = learned(steps, off_policy=log_mu is not None) | {"Policy/learning_rate": learning_rate}
    if log_mu is not None:
        statistics = importance_statistics(log_mu, clip=clip)
        numbers |= {f"OffPolicy/{name}": value for name, value in statistics.items()}
    numbers |= more or {}
    blocks, scalars = len(log_std), torch.stack([number.double() for number in numbers.values()])
    of_blocks = (log_std.exp().mean(dim=-1), gaussian_entropy(log_std))
    found = torch.cat((scalars, *(column.double() for column in of_blocks))).tolist()
    metrics = dict(zip(numbers, found))
    for start, tag in zip((len(numbers), len(numbers) + blocks), ("Block_{}/std", "Block_{}/entropy")):
        metrics |= block_tags(tag, dict(enumerate(found[start : start + blocks])), blocks)
    if len(pairs) == 1:
        metrics["OffPolicy/source_block"] = float(pairs[0][1])
    return metrics
