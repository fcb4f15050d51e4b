"""Settings of all tests."""

import os

# set before torch is imported, and inherited by the commands that system tests run: the tensors here are small, and
# on a busy machine several threads waiting for each other are a hundred times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")
