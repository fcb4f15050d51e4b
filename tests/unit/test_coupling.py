"""CPO's equations, compared with numbers worked out by hand, and which rows followers imitate."""

import pytest
import torch
from tensordict import TensorDict
from test_aggregation import REWARDS, B, M, N, T, look, rollout

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.sapg import discriminator as discriminator_module
from sapg_isaaclab.agents.sapg.aggregation import joined, relabel
from sapg_isaaclab.agents.sapg.batch import on_policy_rows, row_order, row_weights
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.coupling import (
    awac_loss,
    awac_weights,
    imitates,
    imitation_pairs,
    imitation_statistics,
    own_mean_weights,
    penalised_advantages,
)
from sapg_isaaclab.agents.sapg.discriminator import (
    Discriminator,
    adversarial_rewards,
    cross_entropy,
    policy_labels,
    time_labels,
)
from sapg_isaaclab.agents.sapg.losses import surrogate


@pytest.mark.parametrize(
    ("advantage", "temperature", "weight"),
    [
        (0.5, 0.2, 12.182494),  # e^2.5
        (-0.4, 0.2, 0.135335),  # e^-2
        (0.5, 0.1, 100.0),  # e^5 = 148.4 is too much
        (500.0, 0.1, 100.0),  # as is infinity
    ],
)
def test_weight_of_an_imitated_row(advantage, temperature, weight):
    weights = awac_weights(torch.tensor([advantage]), temperature=temperature, maximum=100.0)
    torch.testing.assert_close(weights, torch.tensor([weight]), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("action", "log_density", "loss", "by_mean", "by_log_std"),
    [
        # z = (a - 0.1) / 0.5 = 1: ln pi = -1/2 - ln 0.5 - ln sqrt(2 pi); d loss = -beta w (z / sigma, z^2 - 1)
        (0.6, -0.725791, 0.008841949, -0.0243650, 0.0),
        (0.85, -1.350791, 0.016456007, -0.0365475, -0.0152281),  # z = 1.5
    ],
)
def test_loss_of_an_imitated_row_and_its_gradient(action, log_density, loss, by_mean, by_log_std):
    mean, log_std = torch.tensor([[0.1]], requires_grad=True), torch.tensor([[0.5]]).log().requires_grad_()
    log_prob = gaussian_log_prob(torch.tensor([[action]]), mean, log_std)
    weights = awac_weights(torch.tensor([0.5]), temperature=0.2, maximum=100.0)
    term = 0.001 * awac_loss(log_prob, weights)
    assert log_prob.item() == pytest.approx(log_density, abs=1e-6)
    assert term.item() == pytest.approx(loss, rel=1e-5)
    term.sum().backward()
    assert mean.grad.item() == pytest.approx(by_mean, rel=1e-5)
    assert log_std.grad.item() == pytest.approx(by_log_std, abs=1e-6)


def test_means_over_all_rows_and_over_the_others_only():
    # leader on (A 0.5, ratio 1.05), follower on (-0.4, 0.95), off (1.2, 1.3, clipped at 1.1), imitated
    advantages, ratio = torch.tensor([0.5, -0.4, 1.2]), torch.tensor([1.05, 0.95, 1.3])
    rows = torch.cat((surrogate(ratio.log(), torch.zeros(3), advantages, clip=0.1), torch.tensor([0.008841949])))
    torch.testing.assert_close(rows[:3], torch.tensor([-0.525, 0.38, -1.32]))
    assert rows.mean().item() == pytest.approx(-0.3640395, abs=1e-6)
    weights = own_mean_weights(torch.tensor([False, False, False, True]), [0, 4])
    torch.testing.assert_close(weights, torch.tensor([4 / 3, 4 / 3, 4 / 3, 1.0]))
    assert (rows * weights).mean().item() == pytest.approx(-0.4861228, abs=1e-6)


def test_own_means_are_those_of_every_minibatch():
    imitated = torch.tensor([1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=torch.bool)
    weights = own_mean_weights(imitated, [0, 3, 6], unit=2)  # 6 rows each: 4 of them own, then none
    expected = torch.tensor([1.0, 1.0, 1.5, 1.5, 1.5, 1.5, *[1.0] * 6])
    torch.testing.assert_close(weights, expected)


def test_penalty_on_the_distance_from_the_leader():
    # A' = -0.4 - 0.1 (-1 + 3) = -0.6; at a ratio of 0.95 the loss is 0.57
    log_prob = torch.tensor([-1.0], requires_grad=True)
    advantages = penalised_advantages(torch.tensor([-0.4]), log_prob, torch.tensor([-3.0]), scale=0.1)
    assert advantages.item() == pytest.approx(-0.6)
    behaviour = log_prob.detach() - torch.tensor(0.95).log()
    loss = surrogate(log_prob, behaviour, advantages, clip=0.1)
    assert loss.item() == pytest.approx(0.57, abs=1e-6)
    loss.sum().backward()
    # through the ratio, -A' rho, and through the advantage itself, 0.1 rho
    assert log_prob.grad.item() == pytest.approx(0.57 + 0.1 * 0.95, abs=1e-6)


def test_adversarial_rewards_enter_advantages_and_returns_of_the_rollout_only():
    """Rewards 1, 2, 3, values 4, 5, 6 and 7 after the last step, gamma 0.9, lambda 0.95, a bonus of -0.1 a step."""
    column = lambda *values: torch.tensor(values).view(3, 1, 1)  # noqa: E731
    never = torch.zeros(3, 1, 1, dtype=torch.bool)
    data = TensorDict(
        {"rewards": column(1.0, 2.0, 3.0), "values": column(4.0, 5.0, 6.0), "terminated": never, "truncated": never},
        batch_size=[3, 1],
    )
    cfg = SapgCfg(discount_factor=0.9, gae_lambda=0.95, timeout_bootstrap="none")
    for bonus, expected in ((None, (5.964382, 5.2215, 3.3)), (torch.full((3, 1), -0.1), (5.70578, 5.036, 3.2))):
        on = on_policy_rows(data, torch.tensor([7.0]), cfg, bonus)
        torch.testing.assert_close(on.advantages.squeeze(1), torch.tensor(expected), atol=1e-5, rtol=0)
        torch.testing.assert_close(on.returns, on.advantages + on.values)
        assert on.rewards.flatten().tolist() == [1.0, 2.0, 3.0]  # what relabelled rows are worth


def test_cross_entropy_by_one_softmax_and_by_two():
    logits = torch.tensor([[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]]).log()
    label = torch.zeros(1, dtype=torch.long)
    assert cross_entropy(logits, label).item() == pytest.approx(0.105361, abs=1e-6)
    assert cross_entropy(logits, label, twice=True).item() == pytest.approx(1.122952, abs=1e-6)
    sure = torch.tensor([[1e3, 0.0, 0.0, 0.0, 0.0, 0.0]])
    bounds = [cross_entropy(sure, label + wrong, twice=True).item() for wrong in (0, 1)]
    assert bounds == pytest.approx([1.0436, 2.0436], abs=1e-4)


def test_followers_are_paid_for_being_recognised():
    rewards = adversarial_rewards(torch.tensor([0.5, 0.5, 2.0]), torch.tensor([0, 1, 2]), leader=0, scale=0.01)
    torch.testing.assert_close(rewards, torch.tensor([0.0, -0.005, -0.02]))


def test_labels_of_policies_and_of_the_released_code():
    layout = BlockLayout(12, 6)
    right, wrong = policy_labels(8, layout).view(8, 12), time_labels(8, layout).view(8, 12)
    assert right[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5] and (right == right[0]).all()
    # time alone decides nearly everything: 5 in the first step, 0 (the leader) in the last, 1 in 6 right by chance
    assert (wrong[0] == 5).all() and (wrong[7] == 0).all()
    assert wrong.flatten().bincount().tolist() == [16] * 6
    assert (right == wrong).float().mean().item() == pytest.approx(1 / 6)
    # row 16 of the official order, where label 4 begins, is the environment 4 of step 1: the first of its block 2,
    # which is block 3 here
    assert wrong[1].tolist() == [4] * 8 + [5] * 4


# -- rows --------------------------------------------------------------------------------------------------------------


def imitated_rows():
    cfg = SapgCfg(num_blocks=M, rollouts=T, sequence_length=2, awac_scale=0.001)
    pairs = imitation_pairs(cfg, BlockLayout(N, M))
    return cfg, pairs, relabel(rollout(), pairs, REWARDS, look, gamma=0.9)


def test_every_follower_gets_all_of_the_leaders_rows_with_its_own_values():
    _, pairs, rows = imitated_rows()
    assert pairs == [(1, 0), (2, 0)] and imitation_pairs(SapgCfg(num_blocks=M), BlockLayout(N, M)) == []
    assert len(rows.rows) == (M - 1) * T * B
    for follower in (1, 2):
        own = rows.target == follower
        assert sorted(rows.rows[own].tolist()) == [t * N + n for t in range(T) for n in range(B)]
        torch.testing.assert_close(rows.values[own], 1000.0 * follower + rows.rows[own])
        # one step: reward n, then 0.9 of the follower's value one step later, which is N more
        advantage = (rows.rows[own] % N) + 0.9 * (1000.0 * follower + rows.rows[own] + N) - rows.values[own]
        torch.testing.assert_close(rows.advantages[own], advantage, atol=1e-3, rtol=1e-5)


def test_imitated_rows_come_last_and_stay_in_their_fragments():
    cfg, _, rows = imitated_rows()
    off = relabel(rollout(), [(0, 2)], REWARDS, look, gamma=0.9, rows_per_target=T * B, run_length=2)
    both = joined([off, rows])
    assert both.fragments.shape[1] == 2 and both.fragments.flatten().tolist() == list(range(len(both.rows)))
    assert both.target.tolist() == [0] * (T * B) + [1] * (T * B) + [2] * (T * B)
    assert joined([None, rows]) is rows and joined([off, None]) is off and joined([None, None]) is None
    every = torch.cat((torch.arange(T * N), both.rows))
    kinds = torch.tensor([M, *[2 * M] * (M - 1)]).repeat_interleave(T * B)
    group = torch.cat((torch.arange(T * N) % N // B, both.target + kinds))
    torch.manual_seed(0)
    order = row_order(T, N, both, group, cfg)
    assert sorted(order.tolist()) == list(range(len(every)))
    assert (every[order].view(-1, 2).diff(dim=1) == N).all()
    assert imitates(group, M).sum() == (M - 1) * T * B and imitates(group, M)[-(M - 1) * T * B :].all()


def test_a_sum_over_policies_weighs_imitated_rows_as_a_stratum_of_their_own():
    cfg = SapgCfg(num_blocks=2, awac_scale=0.001, loss_reduction="policy_sum", lambda_off=0.5)
    group = torch.tensor([0, 0, 1, 1, 2, 2, 5, 5, 5, 5])
    weights = row_weights(group, BlockLayout(4, 2), cfg)
    assert weights.tolist() == [5.0, 5.0, 5.0, 5.0, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5]


def test_statistics_run_over_imitated_rows():
    advantages, imitated = torch.tensor([9.0, 0.0, 0.1, 2.0]), torch.tensor([False, True, True, True])
    cfg = SapgCfg(awac_scale=0.001, awac_temperature=0.1)
    found = imitation_statistics(advantages, imitated, torch.tensor([-1.0, -2.0, -3.0]), cfg)
    assert found["mean_weight"].item() == pytest.approx((1.0 + 2.718282 + 100.0) / 3, rel=1e-5)
    assert found["saturated_share"].item() == pytest.approx(1 / 3) and found["leader_divergence"].item() == 2.0


def test_moments_take_in_the_rows_that_count():
    torch.manual_seed(0)
    rows, counted = 3.0 * torch.randn(200, 2) + 5.0, torch.rand(200) < 0.4
    for correction in (0, 1):
        some, chosen = RunningMoments(2, correction=correction), RunningMoments(2, correction=correction)
        some.update(rows, counted=counted)
        chosen.update(rows[counted])
        for name, value in chosen.state_dict().items():
            torch.testing.assert_close(some.state_dict()[name], value, atol=1e-6, rtol=1e-6)
    before = some.state_dict()["mean"].clone()
    some.update(rows, counted=torch.zeros(200, dtype=torch.bool))
    assert some.mean.equal(before)


# -- the discriminator -------------------------------------------------------------------------------------------------


def recognisable(steps=8, envs=12, seed=0):
    """Every policy acts around its own number."""
    layout, noise = BlockLayout(envs, 3), torch.Generator().manual_seed(seed)
    means = policy_labels(steps, layout).view(steps, envs, 1).float() - 1.0
    actions = means + 0.1 * torch.randn(steps, envs, 1, generator=noise)
    observations = torch.randn(steps, envs, 4, generator=noise)
    return layout, TensorDict({"observations": observations, "actions": actions}, batch_size=[steps, envs])


def make_discriminator(layout, **options):
    torch.manual_seed(1)
    defaults = {"adversarial_hidden_sizes": (16,), "adversarial_learning_rate": 1e-2, "adversarial_scale": 0.1}
    return Discriminator(5, layout, SapgCfg(num_blocks=3, **{**defaults, **options}), "cpu")


def test_it_learns_whose_row_it_is_and_pays_followers_for_that():
    layout, data = recognisable()
    judge = make_discriminator(layout)
    before = judge.judge(data).numbers
    for seed in range(60):
        judge.learn(recognisable(seed=seed)[1])
    rewards, after = judge.judge(data)
    assert before["accuracy"] < 0.7 and before["cross_entropy"] > 0.9  # ln 3 = 1.10
    assert after["accuracy"] > 0.99 and after["cross_entropy"] < 0.1
    # -scale CE of the very row; the leader's rows get nothing
    logits = judge.network(torch.cat((data["observations"], data["actions"]), dim=-1))
    log_share = logits.log_softmax(dim=-1).gather(2, policy_labels(8, layout).view(8, 12, 1)).squeeze(-1)
    torch.testing.assert_close(rewards[:, 4:], 0.1 * log_share[:, 4:])
    assert (rewards[:, :4] == 0).all() and (rewards[:, 4:] < 0).all()
    assert after["reward"].item() == pytest.approx(rewards[:, 4:].mean().item())


def test_with_the_released_labels_no_policy_is_singled_out():
    layout, data = recognisable(steps=9)
    judge = make_discriminator(layout, rollouts=9, adversarial_labels="time", adversarial_softmax="twice")
    for seed in range(60):
        judge.learn(recognisable(steps=9, seed=seed)[1])
    rewards, numbers = judge.judge(data)
    assert numbers["accuracy"] < 0.6 and numbers["cross_entropy"].item() == pytest.approx(1.0986, abs=0.05)  # ln 3
    # paid for the first two thirds of the time, nothing for the last, leader and followers alike
    assert (rewards[:6] < 0).all() and (rewards[6:] == 0).all()
    by_policy = rewards[:6].view(6, 3, 4).mean(dim=(0, 2))
    assert (by_policy - by_policy.mean()).abs().max() < 0.05 * by_policy.mean().abs()


def test_a_pass_visits_every_row_once_in_minibatches_of_the_policies(monkeypatch):
    layout, data = recognisable()
    data["observations"][..., 0] = torch.arange(96.0).view(8, 12)
    judge, seen = make_discriminator(layout, mini_batches=3), []
    real = discriminator_module.cross_entropy

    def watched(logits, labels, *, twice=False):
        seen.append(labels)
        return real(logits, labels, twice=twice)

    monkeypatch.setattr(discriminator_module, "cross_entropy", watched)
    inputs = []
    judge.network.register_forward_pre_hook(lambda _, values: inputs.append(values[0][:, 0]))
    judge.learn(data)
    rows = torch.cat(inputs).long()
    assert [len(part) for part in inputs] == [32, 32, 32] and sorted(rows.tolist()) == list(range(96))
    assert rows.tolist() != list(range(96))  # shuffled, each with its own label
    assert torch.cat(seen).equal(rows % 12 // 4)
