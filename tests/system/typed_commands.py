"""The scripts as a user runs them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TASK = "SAPG-Allegro-Reorient"


def load_script(name):
    """A script as a module, to call its main() in this process."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", REPOSITORY / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(name, *arguments, ranks=1):
    """A script on the CPU, in one process or started by torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    script = str(REPOSITORY / "scripts" / f"{name}.py")
    return [sys.executable, *torchrun, script, "--device", "cpu", *map(str, arguments)]


def run_script(name, *arguments, cwd, ranks=1, **environment):
    """Run a script to its end."""
    return subprocess.run(
        command(name, *arguments, ranks=ranks),
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
