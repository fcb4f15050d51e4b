"""The type checker has nothing to say about agents, training, runs, experiments and deploy."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_types_are_right():
    command = ["-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(ROOT)]
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout, result.stderr
    report = json.loads(result.stdout)
    found = [
        f"{item['file']}:{item['range']['start']['line'] + 1}: {item['message']}"
        for item in report["generalDiagnostics"]
    ]
    assert not found, "\n".join(found)
    assert report["summary"]["filesAnalyzed"] >= 40
