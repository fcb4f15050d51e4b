import pytest
import torch

from sapg_isaaclab.agents.sapg.learner import Step
from sapg_isaaclab.agents.sapg.report import importance_statistics, learned, report


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


def step(norm: float, skipped: bool = False) -> Step:
    return Step(torch.arange(4.0), *map(torch.tensor, (0.2, 0.1, 0.3, norm, skipped)))


def test_report_names_every_block():
    numbers = (torch.tensor(0.5), torch.zeros(3, 2), [(0, 2)], torch.zeros(4))
    found = report([step(5.0), step(7.0)], *numbers, clip=0.2)
    assert found["Loss/policy"] == 0.0 and found["Loss/bounds"] == 3.0 and found["Policy/learning_rate"] == 0.5
    assert found["Policy/grad_norm"] == 6.0 and found["Policy/skipped_steps"] == 0.0
    kl = [found[f"Policy/{name}"] for name in ("kl", "kl_on_policy", "kl_off_policy")]
    assert kl == pytest.approx([0.2, 0.1, 0.3])
    assert found["Block_2/std"] == 1.0 and found["OffPolicy/source_block"] == 2.0
    assert found["OffPolicy/effective_sample_share"] == 1.0
    alone = report([step(5.0)], torch.tensor(0.5), torch.zeros(1, 2), [], None, clip=0.2)
    assert not any(name.startswith("OffPolicy") or name == "Policy/kl_off_policy" for name in alone)


@pytest.mark.parametrize("overflow", [float("inf"), float("nan")])
def test_a_skipped_step_is_counted_and_leaves_the_mean_norm_alone(overflow):
    found = learned([step(2.0), step(overflow, skipped=True), step(4.0)], off_policy=True)
    assert found["Policy/grad_norm"] == 3.0 and found["Policy/skipped_steps"] == 1
    none = learned([step(overflow, skipped=True)], off_policy=True)
    assert none["Policy/grad_norm"] == 0.0 and none["Policy/skipped_steps"] == 1


def test_without_half_precision_an_infinite_norm_is_shown_and_no_step_was_skipped():
    found = learned([step(2.0), step(float("inf"))], off_policy=True)
    assert found["Policy/grad_norm"] == float("inf") and found["Policy/skipped_steps"] == 0
