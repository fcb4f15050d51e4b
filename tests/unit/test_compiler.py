import subprocess
import sys

import pytest

from sapg_isaaclab.commands import compiler
from sapg_isaaclab.errors import InputError


@pytest.mark.parametrize(("device", "variable", "name"), [("cpu", "CXX", r"g\+\+"), ("cuda:0", "CC", "gcc or clang")])
def test_a_missing_compiler_is_named_before_anything_is_made(device, variable, name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=f"needs a compiler, but {name} is not found; .*drop agent.compile"):
        compiler.check(device)
    mine = tmp_path / "mycc"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv(variable, "mycc")
    compiler.check(device)
    monkeypatch.setenv(variable, "none++")
    with pytest.raises(InputError, match=rf"{variable}=none\+\+ is not found"):
        compiler.check(device)


def test_an_8_bit_terminal_shows_any_message(tmp_path):
    program = "from sapg_isaaclab.commands import cli; cli.run_command(lambda argv: print('caf\\xe9') or 0, [])"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = ":".join(sys.path)
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
    assert result.stdout == b"caf\\xe9\n", result.stderr
