"""Losses against numbers worked by hand and against torch.distributions."""

import torch

from sapg_isaaclab.agents import gaussian
from sapg_isaaclab.agents.sapg import losses

# (pi_behaviour, pi_old, pi, A) of three samples; epsilon .2: mu = [.5, 2, 1], r = [.7, 1.8, 1.3]
BEHAVIOUR, OLD = torch.tensor([0.5, 0.2, 0.5]).log(), torch.tensor([0.25, 0.4, 0.5]).log()
NOW, ADVANTAGE = torch.tensor([0.35, 0.36, 0.65]).log(), torch.tensor([2.0, -1.0, 1.0])


def test_surrogate_unit_clip_terms_and_gradient():
    now = NOW.clone().requires_grad_()
    objective = -losses.surrogate(now, BEHAVIOUR, ADVANTAGE, clip=0.2)
    torch.testing.assert_close(objective, torch.tensor([1.4, -1.8, 1.2]))
    objective.mean().backward()
    torch.testing.assert_close(now.grad, torch.tensor([1.4, -1.8, 0.0]) / 3)


def test_surrogate_mu_clip_terms_and_gradient():
    now = NOW.clone().requires_grad_()
    objective = -losses.surrogate(now, BEHAVIOUR, ADVANTAGE, clip=0.2, log_mu=OLD - BEHAVIOUR)
    torch.testing.assert_close(objective, torch.tensor([1.2, -1.8, 1.2]))
    objective.mean().backward()
    torch.testing.assert_close(now.grad, torch.tensor([0.0, -1.8, 0.0]) / 3, atol=1e-6, rtol=0)


def test_surrogate_mu_is_literally_equation_3():
    torch.manual_seed(0)
    now, behaviour, old = torch.randn(3, 200) * 0.5
    advantage = torch.randn(200)
    ratio, mu = (now - behaviour).exp(), (old - behaviour).exp()
    literal = torch.minimum(ratio * advantage, ratio.clamp(0.8 * mu, 1.2 * mu) * advantage)
    torch.testing.assert_close(-losses.surrogate(now, behaviour, advantage, clip=0.2, log_mu=old - behaviour), literal)


def test_surrogate_mu_equals_unit_where_mu_is_one():
    plain = losses.surrogate(NOW, BEHAVIOUR, ADVANTAGE, clip=0.2)
    torch.testing.assert_close(losses.surrogate(NOW, BEHAVIOUR, ADVANTAGE, clip=0.2, log_mu=torch.zeros(3)), plain)


def test_surrogate_survives_ratios_of_1e20_in_either_direction():
    now = torch.tensor([46.0, -46.0]).requires_grad_()
    loss = losses.surrogate(now, torch.zeros(2), torch.tensor([-1.0, 1.0]), clip=0.2)
    loss.sum().backward()
    assert loss.isfinite().all() and now.grad.isfinite().all()


def test_value_loss_is_the_larger_of_plain_and_clipped():
    v, old, target = torch.tensor([0.6]), torch.tensor([0.2]), torch.tensor([0.3])
    # plain .3^2 = .09; clipped value .3 hits the target, so replacing V by it would give 0
    torch.testing.assert_close(losses.value_loss(v, old, target, clip=0.1), torch.tensor([0.09]))
    torch.testing.assert_close(losses.value_loss(v, old, target, clip=None), torch.tensor([0.09]))
    # plain 0 at the target; clipped value .3 misses .6 by .3
    torch.testing.assert_close(losses.value_loss(v, old, v, clip=0.1), torch.tensor([0.09]))


def test_bounds_loss_of_a_row():
    mean = torch.tensor([[1.3, -1.6, 0.5]])
    torch.testing.assert_close(losses.bounds_loss(mean), torch.tensor([0.29]))  # .2^2 + .5^2


def test_gaussian_kl_examples():
    zero = torch.zeros(1, 1)
    torch.testing.assert_close(
        gaussian.gaussian_kl(zero, zero, zero + 0.1, zero), torch.tensor([0.005005]), atol=1e-6, rtol=0
    )
    old_log_std = torch.full((1, 1), 2.0).log()
    torch.testing.assert_close(
        gaussian.gaussian_kl(zero, zero, zero, old_log_std), torch.tensor([0.318152]), atol=1e-5, rtol=0
    )


def test_density_entropy_and_divergence_agree_with_torch_distributions():
    torch.manual_seed(0)
    mean, log_std, action = torch.randn(3, 50, 4)
    normal = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(gaussian.gaussian_log_prob(action, mean, log_std), normal.log_prob(action).sum(-1))
    torch.testing.assert_close(gaussian.gaussian_entropy(log_std), normal.entropy().sum(-1))
    old_mean, old_log_std = torch.randn(2, 50, 4)
    old = torch.distributions.Normal(old_mean, old_log_std.exp())
    exact = torch.distributions.kl_divergence(normal, old).sum(-1)
    torch.testing.assert_close(gaussian.gaussian_kl(mean, log_std, old_mean, old_log_std), exact, atol=0.05, rtol=2e-3)


def test_entropy_loss_rewards_entropy_by_the_rows_coefficient():
    loss = losses.entropy_loss(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 0.1]))
    torch.testing.assert_close(loss, torch.tensor([0.0, -0.3]))
