"""n-step windows and the ring, with data that name their environment and step."""

import pytest
import torch

from sapg_isaaclab.agents.pql.replay import Replay, Step, memory_bytes, n_step_transitions


def window(rewards, done, counts=None) -> list[Step]:
    """Steps of one environment; observation t before step t, observation 10 t + 10 after it."""
    counts = [not d for d in done] if counts is None else counts
    return [
        Step(
            torch.tensor([[float(t)]]),
            torch.tensor([[-float(t)]]),
            torch.tensor([rewards[t]]),
            torch.tensor([[10.0 * t + 10.0]]),
            torch.tensor([done[t]]),
            torch.tensor([counts[t]]),
        )
        for t in range(len(rewards))
    ]


@pytest.mark.parametrize(
    ("done", "counts", "expected", "after", "discount"),
    [
        ([False] * 3, None, 5.9203, 30.0, 0.99**3),  # 1 + 1.98 + 2.9403
        ([False, True, False], None, 2.98, 20.0, 0.0),
        ([True, False, True], None, 1.0, 10.0, 0.0),
        ([False, False, True], None, 5.9203, 30.0, 0.0),
        # time ran out, and the value of the true last state counts: after the two steps it is gamma^2 away
        ([False, True, False], [True, True, True], 2.98, 20.0, 0.99**2),
        ([True, False, True], [True, True, False], 1.0, 10.0, 0.99),
    ],
)
def test_window_ends_at_the_first_done(done, counts, expected, after, discount):
    rows = n_step_transitions(window([1.0, 2.0, 3.0], done, counts), 0.99)
    assert rows.rewards.item() == pytest.approx(expected)
    assert rows.next_observations.item() == after
    assert rows.discounts.item() == pytest.approx(discount)
    assert rows.observations.item() == 0.0 and rows.actions.item() == 0.0


def test_targets_equal_a_loop_over_the_official_formula():
    """R + (1 - done) gamma^n Q', environment by environment."""
    torch.manual_seed(0)
    n, envs, gamma = 4, 200, 0.9
    steps = []
    for _ in range(n):
        done = torch.rand(envs) < 0.2
        steps.append(
            Step(torch.randn(envs, 3), torch.randn(envs, 2), torch.randn(envs), torch.randn(envs, 3), done, ~done)
        )
    rows = n_step_transitions(steps, gamma)
    value = rows.next_observations.sum(dim=1)
    for env in range(envs):
        total, ended = 0.0, False
        for k, step in enumerate(steps):
            total += gamma**k * step.rewards[env].item()
            after = step.next_observations[env]
            if step.done[env]:
                ended = True
                break
        expected = total + (0.0 if ended else gamma**n * after.sum().item())
        assert (rows.rewards + rows.discounts * value)[env].item() == pytest.approx(expected, abs=1e-5)
        assert rows.next_observations[env].equal(after)


def coded(env, step):
    return 1000.0 * env + step


def fill(replay: Replay, steps: range, gamma=0.5) -> None:
    """Step t of environment e observes 1000 e + t, acts -(1000 e + t) and earns t."""
    envs = torch.arange(replay.num_envs)
    done = torch.zeros(replay.num_envs, dtype=torch.bool)
    for t in steps:
        before, after = coded(envs, t)[:, None], coded(envs, t + 1)[:, None]
        rewards = torch.full((replay.num_envs,), float(t))
        replay.add(Step(before, -before, rewards, after, done, ~done))


def small(size=10, num_envs=4, n_step=2) -> Replay:
    return Replay(size, num_envs, 1, 1, n_step=n_step, gamma=0.5)


def test_ring_wraps_where_the_environments_do_not_divide_it():
    replay = small()
    sizes = []
    for t in range(9):
        fill(replay, range(t, t + 1))
        sizes.append(len(replay))
    assert sizes == [0, 4, 8, 10, 10, 10, 10, 10, 10]
    # transitions begin in steps 0 to 7, four rows each: the newest 10 of 32 are the last 2 rows of step 5 and all of
    # steps 6 and 7, row i of all lying at i modulo 10, so that two of step 7 are at the end and two at the beginning
    kept = [(env, step) for step in range(8) for env in range(4)]
    expected = torch.zeros(10, 5)
    for i, (env, t) in list(enumerate(kept))[-10:]:
        expected[i % 10] = torch.tensor([coded(env, t), -coded(env, t), coded(env, t + 2), t + 0.5 * (t + 1), 0.25])
    torch.testing.assert_close(replay.rows, expected)


def test_draws_are_whole_uniform_rows_of_the_filled_part():
    replay = small(size=1000, num_envs=3)
    replay.rows.fill_(float("nan"))
    fill(replay, range(5))
    rows = replay.sample(12000, torch.Generator().manual_seed(0))
    begin = rows.observations.squeeze(1)
    torch.testing.assert_close(rows.actions.squeeze(1), -begin)
    torch.testing.assert_close(rows.next_observations.squeeze(1), begin + 2)
    step = begin % 1000
    torch.testing.assert_close(rows.rewards, step + 0.5 * (step + 1))
    counts = torch.unique(begin, return_counts=True)[1]
    assert len(counts) == 12 and (counts - 1000).abs().max() < 4 * (12000 / 12 * 11 / 12) ** 0.5
    states = replay.sample_observations(12000, torch.Generator().manual_seed(0))
    assert states.equal(rows.observations)


def test_a_buffer_that_the_environment_reuses_is_copied():
    buffer, done = torch.ones(1, 1), torch.zeros(1, dtype=torch.bool)
    replay = small(num_envs=1, n_step=2)
    replay.add(Step(buffer, buffer, buffer.view(-1), buffer, done, ~done))
    buffer.fill_(7.0)
    replay.add(Step(buffer, buffer, buffer.view(-1), buffer, done, ~done))
    assert replay.rows[0].tolist() == [1.0, 1.0, 7.0, 1.0 + 0.5 * 7.0, 0.25]


def test_no_window_reaches_across_a_cut():
    replay = small(size=100)
    fill(replay, range(3))
    replay.cut()
    fill(replay, range(50, 53))
    begin = replay.rows[: len(replay), 0] % 1000
    assert begin.unique().tolist() == [0.0, 1.0, 50.0, 51.0]


def test_saved_and_loaded_the_ring_goes_on_alike():
    first = small()
    fill(first, range(5))
    state = first.state_dict()
    second = small()
    second.load_state_dict(state)
    assert len(state["rows"]) == 10 and state["rows"].untyped_storage().nbytes() == 10 * 5 * 4
    for replay in (first, second):
        fill(replay, range(5, 8))
    assert first.rows.equal(second.rows) and len(first) == len(second)
    partly = small(size=1000)
    fill(partly, range(3))
    assert partly.state_dict()["rows"].untyped_storage().nbytes() == 8 * 5 * 4
    with pytest.raises(ValueError, match=r"agent\.replay_size and number of environments"):
        small(size=11).load_state_dict(state)
    with pytest.raises(ValueError, match=r"\(10, 5, 4\), this agent's \(10, 5, 5\)"):
        small(num_envs=5).load_state_dict(state)


def test_memory_is_what_it_says():
    replay = Replay(100, 4, 88, 16, n_step=3, gamma=0.99)
    assert replay.bytes == replay.rows.untyped_storage().nbytes() == 100 * 776
    assert memory_bytes(5_000_000, 88, 16) == 3_880_000_000
