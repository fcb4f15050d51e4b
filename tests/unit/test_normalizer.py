import torch

from sapg_isaaclab.agents.normalizer import RunningMoments


def test_moments_equal_those_of_all_rows_together():
    torch.manual_seed(0)
    rows = torch.randn(1000, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 100.0, -2.0])
    scaler = RunningMoments(3)
    for part in rows.split([1, 400, 599]):
        scaler.update(part)
    # the start counts as one row of mean 0 and variance 1: add a pair of half weight at +-1
    weights = torch.cat((torch.ones(1000), torch.full((2,), 0.5))).double()[:, None]
    everything = torch.cat((rows, torch.ones(1, 3), -torch.ones(1, 3))).double()
    mean = (weights * everything).sum(0) / 1001
    variance = (weights * (everything - mean).square()).sum(0) / 1001
    torch.testing.assert_close(scaler.mean, mean, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(scaler.variance, variance, atol=1e-5, rtol=1e-5)
    assert scaler.count == 1001


def test_merging_two_halves_equals_seeing_all():
    torch.manual_seed(0)
    rows = torch.randn(600, 2).double() + 3.0
    whole, left = RunningMoments(2), RunningMoments(2)
    whole.update(rows)
    left.update(rows[:200])
    variance, mean = torch.var_mean(rows[200:], dim=0, correction=0)
    left.merge(mean, variance, torch.tensor(400.0))
    torch.testing.assert_close(left.mean, whole.mean)
    torch.testing.assert_close(left.variance, whole.variance)


def test_normalize_clamps_and_denormalize_undoes_it():
    scaler = RunningMoments(1)
    scaler.mean.fill_(10.0)
    scaler.variance.fill_(4.0 - 1e-5)
    rows = torch.tensor([[8.0], [10.0], [1000.0]])
    torch.testing.assert_close(scaler.normalize(rows), torch.tensor([[-1.0], [0.0], [5.0]]))
    torch.testing.assert_close(scaler.denormalize(torch.tensor([[-1.0], [7.0]])), torch.tensor([[8.0], [20.0]]))
    assert rows[2, 0] == 1000.0  # the input is left alone
