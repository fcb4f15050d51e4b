import numpy as np
import pytest
import torch
from test_trainer import make_trainer

from same_state import assert_same_state
from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.training.visited import FILE, VisitedStates


def stream(iterations, *, num_envs=12, blocks=3, rollouts=4, kept=200, seed=0):
    """A sample of observations that say when and where they were made: iteration, step, environment."""
    sample = VisitedStates(BlockLayout(num_envs, blocks), rollouts, 3, kept, "cpu", seed)
    envs = torch.arange(num_envs, dtype=torch.float32)
    for iteration in range(1, iterations + 1):
        for step in range(rollouts):
            rows = torch.stack((torch.full_like(envs, iteration), torch.full_like(envs, step), envs), dim=1)
            sample.step(iteration, step, rows)
        sample.finish_iteration(iteration)
    return sample


def test_what_is_kept_was_visited_by_its_block_and_when_it_says():
    state = stream(300).state_dict()
    assert state["states"].shape == (3, 200, 3)
    for block in range(3):
        assert torch.equal(state["states"][block, :, 2] // 4, torch.full((200,), float(block)))
    assert torch.equal(state["states"][..., 0], state["iterations"].float())
    assert len({tuple(row) for row in state["states"].view(-1, 3).tolist()}) == 600  # none twice


def test_every_visit_is_kept_with_the_same_probability():
    # of 100 iterations, 4 steps and 4 environments a block; 150 seeds of 40 from 3 blocks: 18,000 kept states
    seen = torch.cat([stream(100, kept=40, seed=seed).state_dict()["states"].view(-1, 3) for seed in range(150)])
    for column, classes in ((0, 10), (1, 4), (2, 12)):
        values = seen[:, column] - float(column == 0)
        counts = torch.bincount((values // (10 if column == 0 else 1)).long(), minlength=classes).double()
        expected = len(seen) / classes
        # steps are drawn once an iteration for all: their counts scatter like those of 15,000 draws of 1.2
        assert len(counts) == classes and ((counts - expected).abs() < 6 * expected**0.5).all(), counts


def test_before_it_is_full_it_holds_what_there_was_once():
    state = stream(5, kept=64).state_dict()
    filled = state["iterations"] > 0
    assert filled.sum(dim=1).tolist() == [20, 20, 20]  # 5 iterations of 4 environments
    assert torch.isinf(state["keys"][~filled]).all() and not state["states"][~filled].any()


def test_a_run_with_a_sample_is_the_run_without_one_and_goes_on_bit_by_bit(tmp_path):
    without = make_trainer(tmp_path / "a", 6)
    without.train()
    expected = without.state_dict()
    whole = make_trainer(tmp_path / "b", 6, dump_states=5)
    whole.train()
    assert_same_state(expected, whole.state_dict() | {"visited": None})
    assert not (without.run.path / FILE).exists()
    first = make_trainer(tmp_path / "c", 3, dump_states=5)
    first.train()
    second = make_trainer(tmp_path / "c", 6, seed=7, run=first.run, dump_states=5)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    second.train()
    assert_same_state(whole.state_dict(), second.state_dict())
    with np.load(whole.run.path / FILE) as file:
        assert file["states"].shape == (3, 5, whole.env.observation_space.shape[0]) and file["leader"] == 0
        assert file["iterations"].min() >= 1 and file["iterations"].max() <= 6
    assert (first.run.path / FILE).read_bytes() == (whole.run.path / FILE).read_bytes()


def test_a_sample_of_another_size_begins_anew(tmp_path):
    first = make_trainer(tmp_path, 3, dump_states=5)
    first.train()
    second = make_trainer(tmp_path, 5, run=first.run, dump_states=2)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    second.train()
    with np.load(first.run.path / FILE) as file:
        assert set(file["iterations"].ravel().tolist()) <= {4, 5}


@pytest.mark.slow
def test_cost_of_an_iteration_is_a_copy_and_a_sort(capsys):
    import time

    sample = VisitedStates(BlockLayout(24_576, 6), 8, 100, 2_048, "cpu")
    observations, times = torch.randn(24_576, 100), []
    for iteration in range(1, 12):
        began = time.process_time()
        for step in range(8):
            sample.step(iteration, step, observations)
        sample.finish_iteration(iteration)
        times.append(time.process_time() - began)
    with capsys.disabled():
        print(f"\n{sorted(times)[5] * 1e3:.0f} ms of processor time an iteration, median of 11")
    assert sorted(times)[5] < 0.25
