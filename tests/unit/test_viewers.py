"""What a newcomer reads who asks for a viewer that is not installed."""

import importlib.util

import pytest

from sapg_isaaclab.commands import cli
from sapg_isaaclab.errors import InputError


@pytest.mark.parametrize("viewer", ["viser", "rerun"])
def test_a_missing_viewer_is_answered_with_what_to_install(monkeypatch, viewer):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == viewer else find_spec(name, *a))
    with pytest.raises(InputError, match=rf"--viz {viewer} is not installed; pip install 'isaaclab\[{viewer}\]==3.0"):
        cli.parse(cli.parser("test"), ["--viz", f"newton_gl,{viewer}"])


def test_an_installed_viewer_is_accepted(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: object())
    args, _ = cli.parse(cli.parser("test"), ["--viz", "viser"])
    assert args.visualizer == ["viser"]
