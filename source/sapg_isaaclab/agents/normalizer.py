"""Running mean and variance of a stream of rows, mergeable exactly."""

from __future__ import annotations

import torch
from torch import nn

from sapg_isaaclab.agents.ranks import ALONE, Ranks


class RunningMoments(nn.Module):
    """Mean and variance of everything seen so far, and the standardisation by them.

    Follows the official code: float64 moments that start as one row of mean 0 and variance 1, the variance floored by
    ``epsilon`` inside the root, results clamped to ``clamp`` standard deviations.

    Args:
        size: Number D of columns.
        epsilon: Added to the variance.
        clamp: Largest magnitude of a standardised number.
        correction: What is taken off the number of rows where the variance of a batch is a sum of squares over it: 0
            makes merging exact; 1, the unbiased variance, is what the official code merges as if it were the other.
        device: Where the moments live.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(
        self,
        size: int,
        *,
        epsilon: float = 1e-5,
        clamp: float = 5.0,
        correction: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.epsilon, self.clamp, self.correction = epsilon, clamp, correction
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64, device=device))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64, device=device))
        self.register_buffer("count", torch.ones((), dtype=torch.float64, device=device))

    @torch.no_grad()
    def update(self, rows: torch.Tensor, ranks: Ranks = ALONE, counted: torch.Tensor | None = None) -> None:
        """Take rows into the moments.

        Args:
            rows: Finite numbers of shape (rows, D).
            ranks: Processes whose rows are taken as one batch, so that the moments stay the same on all.
            counted: Which rows are taken, boolean of shape (rows,); all by default.
        """
        if counted is not None:
            mean, variance, count = _moments_of(rows, counted)
            mean, squares, count = _pooled(mean, variance, count, ranks)
            self.merge(mean, squares / (count - self.correction).clamp(min=1.0), count)
            return
        if ranks.size == 1:
            correction = min(self.correction, rows.shape[0] - 1)
            variance, mean = torch.var_mean(rows, dim=0, correction=correction)
            self.merge(mean.double(), variance.double(), self.count.new_full((), rows.shape[0]))
        else:
            variance, mean = torch.var_mean(rows, dim=0, correction=0)
            mean, squares, count = _pooled(mean.double(), variance.double(), rows.shape[0], ranks)
            self.merge(mean, squares / (count - self.correction).clamp(min=1.0), count)

    @torch.no_grad()
    def merge(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Take the moments of other rows into these (Chan et al., 1979), exactly for a biased variance.

        Args:
            mean: Mean of the other rows, float64. Shape (D,).
            variance: Variance of the other rows, float64. Shape (D,).
            count: Number of the other rows, float64 scalar.
        """
        total = self.count + count
        delta = mean - self.mean
        self.variance.copy_(
            (self.variance * self.count + variance * count + delta.square() * self.count * count / total) / total
        )
        self.mean.add_(delta * count / total)
        self.count.copy_(total)

    def normalize(self, rows: torch.Tensor) -> torch.Tensor:
        """Standardise and clamp.

        Args:
            rows: Numbers of shape (..., D).

        Returns:
            Standardised numbers of the same shape.
        """
        mean, std = self._mean_std(rows.dtype)
        return ((rows - mean) / std).clamp_(-self.clamp, self.clamp)

    def denormalize(self, rows: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`normalize`, up to its clamp.

        Args:
            rows: Standardised numbers of shape (..., D).

        Returns:
            Numbers in the original unit, same shape.
        """
        mean, std = self._mean_std(rows.dtype)
        return rows.clamp(-self.clamp, self.clamp) * std + mean

    def _mean_std(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mean.to(dtype), (self.variance + self.epsilon).sqrt().to(dtype)


def standardize(values: torch.Tensor, ranks: Ranks = ALONE) -> torch.Tensor:
    """Subtract the mean and divide by the unbiased standard deviation.

    Args:
        values: Numbers. Shape (rows,).
        ranks: Processes whose values are counted together.

    Returns:
        Standardised numbers of the same shape.
    """
    if ranks.size == 1:
        std, mean = torch.std_mean(values)
        return (values - mean) / (std + 1e-8)
    variance, mean = torch.var_mean(values.double(), correction=0)
    mean, squares, count = _pooled(mean, variance, values.numel(), ranks)
    std = (squares / (count - 1.0)).sqrt()
    return (values - mean.to(values.dtype)) / (std.to(values.dtype) + 1e-8)


def _moments_of(rows: torch.Tensor, counted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, biased variance and number of the rows that count, without looking for them."""
    counted = counted.unsqueeze(1)
    count = counted.sum().double()
    mean = (rows * counted).sum(dim=0, dtype=torch.float64) / count.clamp(min=1.0)
    squares = ((rows - mean.to(rows.dtype)).square() * counted).sum(dim=0, dtype=torch.float64)
    return mean, squares / count.clamp(min=1.0), count


def _pooled(
    mean: torch.Tensor, variance: torch.Tensor, rows: int | torch.Tensor, ranks: Ranks
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, sum of squared deviations and number of the rows of all ranks, from each one's biased moments."""
    count = rows if isinstance(rows, torch.Tensor) else mean.new_full((), rows)
    gathered = ranks.gather_tensors(mean, variance, count)
    means, variances, counts = (torch.stack(each) for each in zip(*gathered))
    total, counts = counts.sum(), counts.view(-1, *(1,) * mean.dim())
    mean = (means * counts).sum(dim=0) / total.clamp(min=1.0)
    return mean, ((variances + (means - mean).square()) * counts).sum(dim=0), total
