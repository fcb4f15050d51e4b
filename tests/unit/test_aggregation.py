"""Whose rows reach whom. Values encode the index of their row, so that every mistake shows."""

import math

import pytest
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.sapg.aggregation import draw_pairs, relabel
from sapg_isaaclab.agents.sapg.batch import minibatch_bounds, row_order, row_weights, unbroken_first
from sapg_isaaclab.agents.sapg.cfg import SapgCfg

T, N, M = 4, 12, 3
B = N // M


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rollout() -> BlockMemory:
    """Action 0 taken with density 1 in every step."""
    memory = BlockMemory(T, N, M, device="cpu")
    for name in ("actions", "log_prob"):
        memory.create_tensor(name, size=1, dtype=torch.float32)
    for name in ("terminated", "truncated"):
        memory.create_tensor(name, size=1, dtype=torch.bool)
    never, zero = torch.zeros(N, 1, dtype=torch.bool), torch.zeros(N, 1)
    for _ in range(T):
        memory.add_samples(actions=zero, log_prob=zero, terminated=never, truncated=never)
    return memory


def look(target: int, source: int):
    """A critic whose value of row t N + n is 1000 target + t N + n, and a policy N(target, 1)."""
    code = torch.arange((T + 1) * N).float().view(T + 1, N)[:, source * B : (source + 1) * B]
    return torch.full((T, B, 1), float(target)), torch.zeros(T, B, 1), 1000.0 * target + code


REWARDS = torch.arange(N).float().expand(T, N)


def test_leader_follower_adds_one_follower_block_for_the_leader():
    memory = rollout()
    off = relabel(memory, [(0, 2)], REWARDS, look, gamma=0.9)
    assert off.rows.numel() == T * B == off.rows.unique().numel()
    assert set((off.rows % N).tolist()) == {8, 9, 10, 11}
    assert (off.target == 0).all()
    # values of policy 0 at the same and the next state, reward of the environment: equation 6
    torch.testing.assert_close(off.values, off.rows.float())
    torch.testing.assert_close(off.returns, (off.rows % N).float() + 0.9 * (off.rows + N))
    torch.testing.assert_close(off.advantages, off.returns - off.values)


def test_log_mu_is_the_targets_density_over_the_behaviours():
    memory = rollout()
    off = relabel(memory, [(2, 0)], REWARDS, look, gamma=0.9)
    expected = -0.5 * 2.0**2 - 0.5 * math.log(2 * math.pi)  # N(2, 1) at 0, over density 1
    torch.testing.assert_close(off.log_mu, torch.full((T * B,), expected))


def test_done_cuts_the_one_step_target():
    memory = rollout()
    memory.get_tensor_by_name("truncated")[1, 8] = True
    off = relabel(memory, [(0, 2)], REWARDS, look, gamma=0.9)
    where = off.rows == 1 * N + 8
    assert off.returns[where].item() == 8.0


def test_high_ratio_takes_all_followers_and_symmetric_two_swaps():
    layout = BlockLayout(N, M)
    pairs = draw_pairs(SapgCfg(num_blocks=M, off_policy_ratio=2.0), layout, generator())
    assert sorted(pairs) == [(0, 1), (0, 2)]
    two = draw_pairs(SapgCfg(num_blocks=2, aggregation="symmetric"), BlockLayout(N, 2), generator())
    assert sorted(two) == [(0, 1), (1, 0)]


def test_symmetric_shift_is_the_official_one_in_official_order():
    layout, cfg = BlockLayout(12, 6), SapgCfg(num_blocks=6, aggregation="symmetric")
    for seed in range(50):
        pairs = draw_pairs(cfg, layout, generator(seed))
        official = {layout.to_official(source): layout.to_official(target) for target, source in pairs}
        if official[0] == 4:  # the shift of 2 in the official indexing
            assert official == {0: 4, 1: 5, 2: 0, 3: 1, 4: 2, 5: 3}
            return
    pytest.fail("the shift of 2 was never drawn")


def test_symmetric_independent_gives_every_policy_other_sources():
    cfg = SapgCfg(num_blocks=6, aggregation="symmetric", symmetric_pairing="independent", off_policy_ratio=2.0)
    pairs = draw_pairs(cfg, BlockLayout(12, 6), generator())
    assert len(set(pairs)) == 12 and all(target != source for target, source in pairs)
    assert [target for target, _ in pairs] == [i for i in range(6) for _ in range(2)]
    shifts = {(target - source) % 6 for target, source in pairs}
    assert len(shifts) > 2


def test_none_and_one_block_add_nothing():
    assert draw_pairs(SapgCfg(num_blocks=M, aggregation="none"), BlockLayout(N, M), generator()) == []
    assert draw_pairs(SapgCfg(num_blocks=1), BlockLayout(N, 1), generator()) == []
    assert relabel(rollout(), [], REWARDS, look, gamma=0.9) is None


def test_every_follower_is_drawn_equally_often():
    layout, cfg, draws = BlockLayout(12, 6), SapgCfg(num_blocks=6), generator()
    sources = torch.tensor([draw_pairs(cfg, layout, draws)[0][1] for _ in range(6000)])
    counts = torch.bincount(sources, minlength=6)
    assert counts[0] == 0
    spread = 4 * math.sqrt(6000 * 0.2 * 0.8)
    assert ((counts[1:] - 1200).abs() < spread).all()
    assert (sources.diff() != 0).any()


def test_transition_subsampling_draws_from_the_union_without_replacement():
    memory = rollout()
    torch.manual_seed(0)
    cfg = SapgCfg(num_blocks=M, subsample="transition", aggregation="symmetric")
    pairs = draw_pairs(cfg, memory.layout, generator())
    off = relabel(memory, pairs, REWARDS, look, gamma=0.9, rows_per_target=T * B)
    for target in range(M):
        rows = off.rows[off.target == target]
        assert rows.numel() == T * B == rows.unique().numel()
        sources = (rows % N) // B
        assert set(sources.tolist()) == set(range(M)) - {target}
        torch.testing.assert_close(off.values[off.target == target], 1000.0 * target + rows)


def batch_of(cfg: SapgCfg, pairs):
    memory = rollout()
    per_target = None if cfg.subsample == "block" else T * B
    length = cfg.sequence_length if cfg.subsample == "sequence" else 1
    off = relabel(memory, pairs, REWARDS, look, gamma=0.9, rows_per_target=per_target, run_length=length)
    rows = torch.arange(T * N)
    group = (rows % N) // B
    if off is not None:
        rows, group = torch.cat((rows, off.rows)), torch.cat((group, off.target + M))
    return rows, group, row_order(T, N, off, group, cfg)


def test_shuffle_visits_every_row_once_and_keeps_fragments_in_time_order():
    torch.manual_seed(0)
    rows, _, order = batch_of(SapgCfg(num_blocks=M, rollouts=T, sequence_length=2), [(0, 1), (0, 2)])
    assert sorted(order.tolist()) == list(range(len(rows)))
    fragments = rows[order].view(-1, 2)
    assert (fragments.diff(dim=1) == N).all()
    assert (fragments[:, 0] % N).diff().ne(0).any()


def test_sequences_drawn_from_the_union_are_whole():
    torch.manual_seed(0)
    cfg = SapgCfg(num_blocks=M, rollouts=T, sequence_length=2, subsample="sequence")
    rows, group, order = batch_of(cfg, draw_pairs(cfg, BlockLayout(N, M), generator()))
    assert sorted(order.tolist()) == list(range(T * N + T * B))
    fragments = rows[order].view(-1, 2)
    assert (fragments.diff(dim=1) == N).all() and (fragments[:, 0] // N % 2 == 0).all()
    drawn = rows[group == M]
    assert set((drawn % N // B).tolist()) == {1, 2} and drawn.unique().numel() == T * B


def test_unbroken_sequences_come_first_in_every_minibatch():
    resets = torch.tensor([True, False, False, True, True, False, False])
    order, num_unbroken = unbroken_first(resets, [0, 3, 7])
    assert order.tolist() == [1, 2, 0, 5, 6, 3, 4] and num_unbroken == [2, 2]


def test_unshuffled_rows_are_ordered_by_environment():
    rows, _, order = batch_of(SapgCfg(num_blocks=M, rollouts=T, shuffle=False), [])
    assert rows[order][: 2 * T].tolist() == [0, 12, 24, 36, 1, 13, 25, 37]


def test_stratified_minibatches_hold_every_stratum_in_proportion():
    torch.manual_seed(0)
    cfg = SapgCfg(num_blocks=M, rollouts=T, sequence_length=1, subsample="transition", stratified_minibatch=True)
    _, group, order = batch_of(cfg, draw_pairs(cfg, BlockLayout(N, M), generator()))
    for part in group[order].view(4, -1):  # 64 rows: 16 of each of 3 policies and 16 off-policy ones for the leader
        assert torch.bincount(part, minlength=4).tolist() == [4, 4, 4, 4]


def test_policy_sum_is_m_plus_one_times_the_row_mean():
    _, group, _ = batch_of(SapgCfg(num_blocks=M, rollouts=T), [(0, 1)])
    layout = BlockLayout(N, M)
    assert row_weights(group, layout, SapgCfg(num_blocks=M)) is None
    weights = row_weights(group, layout, SapgCfg(num_blocks=M, loss_reduction="policy_sum"))
    torch.testing.assert_close(weights, torch.full_like(weights, M + 1.0))
    weights = row_weights(group, layout, SapgCfg(num_blocks=M, lambda_off=0.5))
    assert weights[group < M].eq(1.0).all() and weights[group >= M].eq(0.5).all()


def test_policy_sum_with_all_followers_averages_them():
    _, group, _ = batch_of(SapgCfg(num_blocks=M, rollouts=T), [(0, 1), (0, 2)])
    loss = torch.rand(len(group))
    weights = row_weights(group, BlockLayout(N, M), SapgCfg(num_blocks=M, loss_reduction="policy_sum"))
    expected = sum(loss[group == i].mean() for i in range(4))
    torch.testing.assert_close((weights * loss).mean(), expected)


def test_official_minibatch_sizes():
    for rollouts, on, sizes in ((16, 4, [98304, 98304, 98304, 163840]), (8, 2, [98304, 131072])):
        cfg = SapgCfg(rollouts=rollouts, mini_batches=on)
        rows = 24576 * rollouts
        bounds = minibatch_bounds(rows * 7 // 6, rows, cfg)
        assert [b - a for a, b in zip(bounds[:-1], bounds[1:], strict=True)] == sizes
    even = minibatch_bounds(103, 100, SapgCfg(mini_batches=4, mini_batch_remainder="even"))
    assert even == [0, 26, 52, 78, 103]
    fixed = SapgCfg(num_blocks=1, mini_batch_size=32)
    assert minibatch_bounds(100, 100, fixed) == [0, 32, 64, 100]
    assert minibatch_bounds(24, 24, fixed) == [0, 24]
    assert minibatch_bounds(96, 96, fixed, unit=4) == [0, 8, 16, 24]
