"""Critics' targets and losses, worked by hand."""

import gymnasium
import pytest
import torch
import torch.nn.functional as F

from sapg_isaaclab.agents.pql.networks import Actor, DistributionalCritic, DoubleCritic, project

SPACES = (gymnasium.spaces.Box(-10.0, 10.0, (3,)), gymnasium.spaces.Box(-1.0, 1.0, (2,)), "cpu")
SHAPE = {"hidden_sizes": (8, 4), "activation": "elu"}


def test_networks_have_the_layers_of_the_options():
    actor = Actor(*SPACES, **SHAPE)
    actions = actor.evaluate(torch.randn(100, 3) * 100.0)
    assert actions.shape == (100, 2) and actions.abs().max() <= 1.0
    assert [tuple(p.shape) for p in actor.parameters() if p.dim() == 2] == [(8, 3), (4, 8), (2, 4)]
    critic = DoubleCritic(*SPACES, **SHAPE)
    one = [(8, 5), (4, 8), (1, 4)]
    assert [tuple(p.shape) for p in critic.parameters() if p.dim() == 2] == one * 2
    first, second = critic.evaluate(torch.randn(6, 3), torch.randn(6, 2))
    assert first.shape == (6, 1) and not torch.allclose(first, second)


def test_skrls_calls_give_actions_and_the_smaller_value():
    actor, critic = Actor(*SPACES, **SHAPE), DoubleCritic(*SPACES, **SHAPE)
    observations = torch.randn(6, 3)
    actions, _ = actor.act({"observations": observations})
    assert actions.equal(actor.evaluate(observations))
    values, _ = critic.act({"observations": observations, "taken_actions": actions})
    assert values.squeeze(1).equal(critic.evaluate(observations, actions).squeeze(-1).min(dim=0).values)


def test_double_target_and_loss():
    critic = DoubleCritic(*SPACES, **SHAPE)
    outputs = torch.tensor([[[1.0], [5.0]], [[2.0], [3.0]]])
    target = critic.target(outputs, torch.tensor([0.5, 1.0]), torch.tensor([0.9, 0.0]))
    torch.testing.assert_close(target, torch.tensor([1.4, 1.0]))
    # ((1 - 1.4)^2 + (5 - 1)^2) / 2 + ((2 - 1.4)^2 + (3 - 1)^2) / 2
    assert critic.loss(outputs, target).item() == pytest.approx(0.5 * (0.16 + 16.0) + 0.5 * (0.36 + 4.0))


@pytest.mark.parametrize(
    ("reward", "discount", "expected"),
    [
        # atoms -1, 0, 1 with probabilities .2, .3, .5
        (0.0, 1.0, [0.2, 0.3, 0.5]),
        # moved to -.25, .25, .75
        (0.25, 0.5, [0.25 * 0.2, 0.75 * 0.2 + 0.75 * 0.3 + 0.25 * 0.5, 0.25 * 0.3 + 0.75 * 0.5]),
        # after an end everything lies at the reward
        (-0.4, 0.0, [0.4, 0.6, 0.0]),
        # moved to 0, 1, 2: the last is cut off at 1
        (1.0, 1.0, [0.0, 0.2, 0.8]),
        (-7.0, 1.0, [1.0, 0.0, 0.0]),
    ],
)
def test_projection(reward, discount, expected):
    probabilities = torch.tensor([0.2, 0.3, 0.5]).expand(2, 1, 3)
    projected = project(probabilities, torch.tensor([reward]), torch.tensor([discount]), torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(projected, torch.tensor(expected).expand(2, 1, 3))


def test_projection_keeps_the_mass_and_within_the_range_the_mean():
    torch.manual_seed(0)
    support = torch.linspace(-10.0, 10.0, 51)
    probabilities = torch.randn(2, 64, 51).softmax(dim=-1)
    rewards, discounts = torch.randn(64), torch.full((64,), 0.7)
    projected = project(probabilities, rewards, discounts, support)
    torch.testing.assert_close(projected.sum(dim=-1), torch.ones(2, 64))
    torch.testing.assert_close(projected @ support, rewards + discounts * (probabilities @ support), atol=1e-4, rtol=0)
    apart = project(probabilities[1:].expand(2, -1, -1), rewards, discounts, support)
    torch.testing.assert_close(apart[0], projected[1])


def test_distributional_target_is_the_elementwise_minimum_and_the_loss_binary_cross_entropy():
    critic = DistributionalCritic(*SPACES, atoms=3, value_range=(-1.0, 1.0), **SHAPE)
    first, second = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.6, 0.1, 0.3])
    outputs = torch.stack((first, second)).log()[:, None]
    target = critic.target(outputs, torch.zeros(1), torch.ones(1))
    torch.testing.assert_close(target, torch.tensor([[0.2, 0.1, 0.3]]))  # sums to 0.6, and stays so
    torch.testing.assert_close(critic.values(outputs), torch.tensor([[0.3], [-0.3]]))
    expected = F.binary_cross_entropy(first, target[0]) + F.binary_cross_entropy(second, target[0])
    assert critic.loss(outputs, target).item() == pytest.approx(expected.item())
