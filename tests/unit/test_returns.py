"""Returns against numbers worked by hand: gamma .9, lambda .95, r = [1, 2, 3], V = [4, 5, 6], V(s_3) = 7."""

import pytest
import torch

from sapg_isaaclab.agents.returns import bootstrapped_rewards, gae, n_step_returns, one_step_targets

R, V, LAST = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[4.0], [5.0], [6.0]]), torch.tensor([7.0])
NEVER = torch.zeros(3, 1, dtype=torch.bool)
AFTER_1 = torch.tensor([[False], [True], [False]])


def close(actual, expected):
    torch.testing.assert_close(actual.squeeze(-1), torch.tensor(expected), atol=1e-5, rtol=0)


def test_one_step_targets_use_the_value_of_the_next_state():
    targets = one_step_targets(R, V, LAST, NEVER, gamma=0.9)
    close(targets, [5.5, 7.4, 9.3])
    close(targets - V, [1.5, 2.4, 3.3])


def test_one_step_targets_stop_at_a_done():
    targets = one_step_targets(R, V, LAST, AFTER_1, gamma=0.9)
    close(targets, [5.5, 2.0, 9.3])
    close(targets - V, [1.5, -3.0, 3.3])


def test_gae_without_a_done():
    advantages, returns = gae(R, V, LAST, NEVER, NEVER, gamma=0.9, lam=0.95)
    close(advantages, [5.964382, 5.2215, 3.3])  # 3.3; 2.4 + .855 * 3.3; 1.5 + .855 * 5.2215
    close(returns, [9.964382, 10.2215, 9.3])


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_gae_is_cut_by_either_kind_of_done(kind):
    flags = {"terminated": NEVER, "truncated": NEVER, kind: AFTER_1}
    advantages, returns = gae(R, V, LAST, **flags, gamma=0.9, lam=0.95)
    close(advantages, [-1.065, -3.0, 3.3])
    close(returns, [2.935, 2.0, 9.3])


def test_gae_bootstrap_stands_in_for_the_next_value_of_a_truncated_step_only():
    bootstrap = torch.tensor([[float("nan")], [10.0], [float("nan")]])
    advantages, _ = gae(R, V, LAST, NEVER, AFTER_1, gamma=0.9, lam=0.95, bootstrap=bootstrap)
    # t = 1: 2 + .9 * 10 - 5 = 6; t = 0: 1.5 + .855 * 6 = 6.63; t = 2 as before
    close(advantages, [6.63, 6.0, 3.3])
    # a step that is both has terminated: nothing follows
    advantages, _ = gae(R, V, LAST, AFTER_1, AFTER_1, gamma=0.9, lam=0.95, bootstrap=bootstrap)
    close(advantages, [-1.065, -3.0, 3.3])


def test_n_step_returns_shorten_at_the_horizon():
    # t = 0: 1 + .9 * 2 + .81 * 3 + .729 * 7; t = 1: 2 + .9 * 3 + .81 * 7; t = 2: 3 + .9 * 7
    close(n_step_returns(R, V, LAST, NEVER, NEVER, gamma=0.9, n=3), [10.333, 10.37, 9.3])
    close(n_step_returns(R, V, torch.tensor([10.0]), NEVER, NEVER, gamma=0.9, n=3), [12.52, 12.8, 12.0])


def test_n_step_returns_end_at_a_done():
    close(n_step_returns(R, V, LAST, AFTER_1, NEVER, gamma=0.9, n=3), [2.8, 2.0, 9.3])


def test_n_step_of_one_is_the_one_step_target_and_of_a_long_window_the_monte_carlo_return():
    torch.testing.assert_close(
        n_step_returns(R, V, LAST, NEVER, NEVER, gamma=0.9, n=1), one_step_targets(R, V, LAST, NEVER, gamma=0.9)
    )
    _, monte_carlo = gae(R, V, LAST, NEVER, NEVER, gamma=0.9, lam=1.0)
    torch.testing.assert_close(n_step_returns(R, V, LAST, NEVER, NEVER, gamma=0.9, n=9), monte_carlo)


def test_n_step_refuses_an_empty_window():
    with pytest.raises(ValueError, match="at least 1"):
        n_step_returns(R, V, LAST, NEVER, NEVER, gamma=0.9, n=0)


def test_bootstrapped_rewards_with_the_value_before_the_step_is_the_official_rule():
    shaped = bootstrapped_rewards(R, NEVER, AFTER_1, gamma=0.9, bootstrap=V)
    close(shaped, [1.0, 2.0 + 0.9 * 5.0, 3.0])


def test_environments_do_not_mix():
    rewards = torch.randn(5, 7)
    values, last = torch.randn(5, 7), torch.randn(7)
    done = torch.rand(5, 7) < 0.3
    together, _ = gae(rewards, values, last, done, torch.zeros_like(done), gamma=0.9, lam=0.95)
    for n in range(7):
        alone, _ = gae(
            rewards[:, n : n + 1], values[:, n : n + 1], last[n : n + 1], done[:, n : n + 1],
            torch.zeros(5, 1, dtype=torch.bool), gamma=0.9, lam=0.95,
        )  # fmt: skip
        torch.testing.assert_close(together[:, n : n + 1], alone)
