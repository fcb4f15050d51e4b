"""Settings of all tests."""

import os

import pytest

# set before torch is imported, and inherited by the commands that system tests run: the tensors here are small, and
# on a busy machine several threads waiting for each other are a hundred times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def device() -> str:
    """Where tests compute that may do so anywhere: a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
