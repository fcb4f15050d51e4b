"""The commands as a user runs them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TASK = "SAPG-Allegro-Reorient"


def load_command(name):
    """A command's module, to call its main() in this process."""
    return importlib.import_module(f"sapg_isaaclab.commands.{name}")


def command(name, *arguments, ranks=1):
    """A command on the CPU, in one process or started by torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    return [sys.executable, *torchrun, "-m", "sapg_isaaclab", name, "--device", "cpu", *map(str, arguments)]


def run_command(name, *arguments, cwd, ranks=1, **environment):
    """Run a command to its end."""
    return subprocess.run(
        command(name, *arguments, ranks=ranks),
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
