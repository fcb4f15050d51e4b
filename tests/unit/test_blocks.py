import pytest
import torch

from sapg_isaaclab.agents.blocks import BlockLayout


def test_every_environment_has_one_block():
    layout = BlockLayout(24, 6)
    assert layout.block_size == 4 and layout.followers == (1, 2, 3, 4, 5)
    blocks = layout.block_of(torch.arange(24))
    for block in range(6):
        assert blocks[layout.slice(block)].tolist() == [block] * 4


def test_entropy_coefficients_of_both_schedules():
    layout = BlockLayout(24576, 6)
    official = layout.entropy_coefs(0.005, "official")
    torch.testing.assert_close(official, torch.tensor([0.0, 0.0005, 0.001, 0.0015, 0.002, 0.0025]))
    paper = layout.entropy_coefs(0.005, "paper")
    torch.testing.assert_close(paper, torch.tensor([0.0, 0.005, 0.01, 0.015, 0.02, 0.025]))
    torch.testing.assert_close(layout.entropy_coefs(0.05, "official"), paper)
    with pytest.raises(ValueError, match="'official' or 'paper'"):
        layout.entropy_coefs(0.005, "linear")


def test_one_block_has_the_plain_entropy_bonus():
    assert BlockLayout(8, 1).entropy_coefs(0.01, "official").tolist() == pytest.approx([0.01])


def test_the_official_order_is_the_reverse():
    layout = BlockLayout(6, 6)
    assert [layout.to_official(block) for block in range(6)] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("envs", "blocks", "message"),
    [
        (100, 6, "num_envs is 100.*use --num_envs 96 or 102"),
        (4, 6, "use --num_envs 6$"),
        (12, 0, "num_blocks is 0; it must be at least 1"),
    ],
)
def test_counts_that_do_not_fit_name_the_nearest_ones(envs, blocks, message):
    with pytest.raises(ValueError, match=message):
        BlockLayout(envs, blocks)


def test_unknown_block_or_environment_is_refused():
    layout = BlockLayout(12, 6)
    for block in (-1, 6):
        with pytest.raises(ValueError, match="blocks 0 .leader. to 5"):
            layout.slice(block)
    with pytest.raises(ValueError, match="0 to 11"):
        layout.block_of(torch.tensor([12]))
