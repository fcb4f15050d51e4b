"""What a newcomer reads who asks for a viewer that is not installed."""

import importlib.util

import pytest

from sapg_isaaclab.commands import cli
from sapg_isaaclab.errors import InputError


@pytest.mark.parametrize(
    ("viewer", "extra"), [("viser", "viser"), ("rerun", "rerun"), ("newton_rtx", "ovrtx"), ("kit", "isaacsim")]
)
def test_a_missing_viewer_is_answered_with_what_to_install(monkeypatch, viewer, extra):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == extra else find_spec(name, *a))
    with pytest.raises(InputError, match=rf"--viz {viewer} is not installed; pip install 'isaaclab\[{extra}\]==3.0"):
        cli.parse(cli.parser("test"), ["--viz", f"newton_gl,{viewer}"])


def test_an_unknown_viewer_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="--viz vizer is unknown; use newton_gl, .*, kit or none"):
        cli.parse(cli.parser("test"), ["--viz", "vizer"])
    from isaaclab.visualizers.visualizer_cfg import _VISUALIZER_TYPES

    assert set(cli._VIEWERS) == set(_VISUALIZER_TYPES)


def test_an_installed_viewer_is_accepted(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: object())
    args, _ = cli.parse(cli.parser("test"), ["--viz", "viser"])
    assert args.visualizer == ["viser"]
