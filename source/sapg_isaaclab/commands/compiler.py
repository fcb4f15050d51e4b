"""Whether ``torch.compile`` will find a compiler."""

from __future__ import annotations

import os
import shutil

from sapg_isaaclab.errors import InputError


def check(device: str) -> None:
    """Check that ``agent.compile=true`` can work.

    Args:
        device: Torch device.

    Raises:
        InputError: If torch will find no compiler.
    """
    # torch looks for the same: CXX, else g++, for code of the CPU; on CUDA Triton takes CC, gcc or clang
    if device.startswith("cuda"):
        variable, names = "CC", ["gcc", "clang"]
    else:
        variable, names = "CXX", ["g++"]
    named = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([named] if named else names)):
        wanted = f"{variable}={named}" if named else " or ".join(names)
        raise InputError(
            f"agent.compile=true needs a compiler, but {wanted} is not found; install g++ (apt-get install g++), name"
            f" another in {variable}, or drop agent.compile"
        )
