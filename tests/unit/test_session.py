"""How an agent is made for a command."""

import pytest
import torch

from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.training import session
from toy_env import ToyEnv


@pytest.mark.parametrize(("matmul", "tf32"), [("highest", False), ("high", True)])
def test_cudnn_is_as_exact_as_matrix_products(matmul, tf32):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = not tf32
        session.make_agent(ToyEnv(12), SapgCfg(num_blocks=3, hidden_sizes=(8,)))
        assert session.precision() == {"float32_matmul": matmul, "cudnn_tf32": tf32}
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
