import pytest
import torch

from sapg_isaaclab.agents.sapg.report import importance_statistics, report


def test_importance_statistics_by_hand():
    # weights 1, 3: (1 + 3)^2 / (2 (1 + 9)) = .8; mean 2; only the first lies within .2 of 1
    found = importance_statistics(torch.tensor([1.0, 3.0]).log(), clip=0.2)
    assert found["effective_sample_share"].item() == pytest.approx(0.8)
    assert found["mean_ratio"].item() == pytest.approx(2.0)
    assert found["unclipped_share"].item() == 0.5


@pytest.mark.parametrize("size", [46.0, 1000.0])
def test_a_drifted_follower_gives_finite_numbers(size):
    """Ratios of 1e+-20 and far beyond what floating point holds."""
    for log_mu in (torch.full((4,), size), torch.full((4,), -size), torch.tensor([size, -size, 0.0, 1.0])):
        assert all(value.isfinite() for value in importance_statistics(log_mu, clip=0.2).values())


def test_report_names_every_block():
    found = report(torch.arange(6.0), torch.tensor(0.5), torch.zeros(3, 2), [(0, 2)], torch.zeros(4), clip=0.2)
    assert found["Loss/policy"] == 0.0 and found["Policy/grad_norm"] == 5.0 and found["Policy/learning_rate"] == 0.5
    assert found["Block_2/std"] == 1.0 and found["OffPolicy/source_block"] == 2.0
    assert found["OffPolicy/effective_sample_share"] == 1.0
    assert not any(name.startswith("OffPolicy") for name in report(
        torch.arange(6.0), torch.tensor(0.5), torch.zeros(1, 2), [], None, clip=0.2
    ))  # fmt: skip
