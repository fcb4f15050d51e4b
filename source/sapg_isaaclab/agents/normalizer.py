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
        device: Where the moments live.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(
        self, size: int, *, epsilon: float = 1e-5, clamp: float = 5.0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.epsilon, self.clamp = epsilon, clamp
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64, device=device))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64, device=device))
        self.register_buffer("count", torch.ones((), dtype=torch.float64, device=device))

    @torch.no_grad()
    def update(self, rows: torch.Tensor, ranks: Ranks = ALONE) -> None:
        """Take rows into the moments.

        Args:
            rows: Finite numbers of shape (rows, D).
            ranks: Processes whose rows are all taken, in the same order on each, so that the moments stay the same.
        """
        variance, mean = torch.var_mean(rows, dim=0, correction=0)
        count = torch.as_tensor(float(rows.shape[0]), dtype=torch.float64, device=rows.device)
        for moments in ranks.gather_tensors(mean.double(), variance.double(), count):
            self.merge(*moments)

    @torch.no_grad()
    def merge(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Take the moments of other rows into these, exactly (Chan et al., 1979).

        Args:
            mean: Mean of the other rows, float64. Shape (D,).
            variance: Biased variance of the other rows, float64. Shape (D,).
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
    count = torch.as_tensor(float(values.numel()), dtype=torch.float64, device=values.device)
    means, variances, counts = (torch.stack(each) for each in zip(*ranks.gather_tensors(mean, variance, count)))
    mean = (means * counts).sum() / counts.sum()
    squares = (variances + (means - mean).square()) * counts
    std = (squares.sum() / (counts.sum() - 1.0)).sqrt()
    return (values - mean.to(values.dtype)) / (std.to(values.dtype) + 1e-8)
