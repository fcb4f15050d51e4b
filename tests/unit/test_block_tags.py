"""Numbers of every policy in logs: one by one, or a summary of many."""

import pytest
import torch

from sapg_isaaclab.block_tags import MOST_BLOCKS, block_scalars, block_tags


def test_up_to_sixteen_policies_are_named_one_by_one():
    assert MOST_BLOCKS == 16
    values = {block: float(block) for block in range(16)}
    assert block_tags("Block_{}/std", values, 16) == {f"Block_{block}/std": float(block) for block in range(16)}
    assert block_tags("Block_{}/return", {1: 3.0}, 2) == {"Block_1/return": 3.0}
    found = block_scalars("Tolerance/block_{}", torch.tensor([0.1, 0.2]))
    assert {tag: value.item() for tag, value in found.items()} == {
        "Tolerance/block_0": pytest.approx(0.1),
        "Tolerance/block_1": pytest.approx(0.2),
    }


def test_of_more_a_summary_is_left():
    # 1, 4, 9, ..., 400, in another order: of twenty, the lower in the middle is the tenth
    values = {(7 * block) % 20: float((block + 1) ** 2) for block in range(20)}
    tags = {"Blocks/return_lowest": 1.0, "Blocks/return_median": 100.0, "Blocks/return_highest": 400.0}
    assert block_tags("Block_{}/return", values, 20) == tags
    scalars = block_scalars("Block_{}/return", torch.tensor(list(values.values())))
    assert {tag: value.item() for tag, value in scalars.items()} == tags
    assert block_tags("Block_{}/return", {3: 5.0}, 20) == dict.fromkeys(tags, 5.0)  # the others have none yet
    assert block_tags("Block_{}/return", {}, 20) == {}
    assert set(block_tags("Tolerance/block_{}", values, 20)) == {
        "Tolerance/blocks_lowest", "Tolerance/blocks_median", "Tolerance/blocks_highest",
    }  # fmt: skip
    assert set(block_tags("Population/objective_{}", values, 20)) == {
        "Population/objective_lowest", "Population/objective_median", "Population/objective_highest",
    }  # fmt: skip
