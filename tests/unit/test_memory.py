"""The memory is a drop-in for skrl's: data that encode their own index make any mixing visible."""

import gymnasium
import pytest
import torch
from skrl.memories.torch import RandomMemory

from sapg_isaaclab.agents.memory import BlockMemory

T, N, M = 4, 12, 3


def filled() -> BlockMemory:
    """Every number is 100 t + n."""
    memory = BlockMemory(T, N, M, device="cpu")
    memory.create_tensor("observations", size=2, dtype=torch.float32)
    memory.create_tensor("done", size=1, dtype=torch.bool)
    for t in range(T):
        code = 100.0 * t + torch.arange(N).float()[:, None]
        memory.add_samples(observations=code.expand(N, 2), done=torch.zeros(N, 1, dtype=torch.bool))
    return memory


def test_a_block_is_a_view_of_its_environments():
    memory = filled()
    part = memory.block(1)
    assert part.batch_size == (T, N // M)
    assert part["observations"][2, :, 0].tolist() == [204.0, 205.0, 206.0, 207.0]
    part["observations"][2, 0, 0] = -1.0
    assert memory.get_tensor_by_name("observations")[2, 4, 0] == -1.0
    assert memory.blocks()["observations"][3, 2, 1, 0] == 309.0
    assert memory.tensors_view["observations"][3 * N + 9, 0] == 309.0
    with pytest.raises(ValueError, match="block 3 does not exist"):
        memory.block(3)


def test_it_behaves_as_skrls_memory_does():
    ours, theirs = BlockMemory(T, N, M, device="cpu"), RandomMemory(memory_size=T, num_envs=N, device="cpu")
    for memory in (ours, theirs):
        assert memory.create_tensor("observations", size=gymnasium.spaces.Box(-1, 1, (3,)), dtype=torch.float32)
        assert not memory.create_tensor("observations", size=3)
        assert not memory.create_tensor("states", size=None)
        with pytest.raises(ValueError, match="size"):
            memory.create_tensor("observations", size=4)
        assert memory.get_tensor_by_name("observations").isnan().all()
    generator = torch.Generator().manual_seed(0)
    for step in range(T + 2):  # past the end: both wrap around
        rows = torch.randn(N, 3, generator=generator)
        for memory in (ours, theirs):
            memory.add_samples(observations=rows)
        assert len(ours) == len(theirs), step
    torch.testing.assert_close(ours.get_tensor_by_name("observations"), theirs.get_tensor_by_name("observations"))
    for mini_batches, length in ((1, 1), (3, 1), (2, T)):
        batches = [
            m.sample_all(["observations", "none"], mini_batches=mini_batches, sequence_length=length)
            for m in (ours, theirs)
        ]
        for a, b in zip(*batches, strict=True):
            torch.testing.assert_close(a[0], b[0])
            assert a[1] is None


def test_samples_are_distinct_and_sequences_stay_in_their_environment():
    memory = filled()
    rows = torch.cat([part[0][:, 0] for part in memory.sample(["observations"], batch_size=T * N, mini_batches=5)])
    assert rows.unique().numel() == T * N
    ((rows, missing),) = memory.sample(["observations", "nothing"], batch_size=10, sequence_length=3)
    sequences = rows[:, 0].view(-1, 3)
    assert missing is None
    assert (sequences.diff(dim=1) == 100.0).all()
    with pytest.raises(ValueError, match="only 4 steps"):
        memory.sample(["observations"], batch_size=1, sequence_length=5)


def test_blocks_must_share_the_environments():
    with pytest.raises(ValueError, match="use --num_envs 9 or 12"):
        BlockMemory(T, 10, 3, device="cpu")
