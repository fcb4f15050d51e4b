from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.commands.overrides import apply_override, get_option, parse_value
from sapg_isaaclab.errors import InputError


@dataclasses.dataclass
class Sim:
    dt: float = 0.01
    gravity: tuple[float, float, float] = (0.0, 0.0, -9.81)
    kind: Literal["a", "b"] = "a"


@dataclasses.dataclass
class Scene:
    num_envs: int = 64


@dataclasses.dataclass
class Cfg:
    sim: Sim = dataclasses.field(default_factory=Sim)
    scene: Scene = dataclasses.field(default_factory=Scene)
    seed: int | None = None
    flag: bool = True
    name: str = "x"
    joints: list = dataclasses.field(default_factory=lambda: ["a", "b"])
    table: dict = dataclasses.field(default_factory=lambda: {"scale": 1.0})


@pytest.fixture
def configs():
    return {"env": Cfg(), "agent": SapgCfg()}


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("env.sim.dt=0.02", 0.02),
        ("env.sim.dt=1", 1.0),
        ("env.sim.gravity=[0,0,-1.6]", (0, 0, -1.6)),
        ("env.sim.kind=b", "b"),
        ("env.seed=3", 3),
        ("env.seed=none", None),
        ("env.flag=false", False),
        ("env.name=123", "123"),
        ("env.name=a=b", "a=b"),
        ("env.joints.1=c", "c"),
        ("env.table.scale=2", 2.0),
        ("agent.num_blocks=4", 4),
        ("agent.hidden_sizes=[64,64]", (64, 64)),
        ("agent.importance_clip=mu", "mu"),
        ("agent.mu_max=inf", float("inf")),
        ("agent.experiment.directory=mine", "mine"),
    ],
)
def test_an_option_is_set_with_its_type(configs, token, value):
    apply_override(configs, token)
    section, path = token.split("=")[0].split(".", 1)
    assert get_option(configs[section], path) == value
    assert type(get_option(configs[section], path)) is type(value)


@pytest.mark.parametrize(
    ("token", "parts"),
    [
        ("env.simm.dt=1", ["no option env.simm", "did you mean env.sim?"]),
        ("env.num_envs=8", ["no option env.num_envs", "did you mean env.scene.num_envs"]),
        ("env.scene.zzz=8", ["no option env.scene.zzz", "it has num_envs"]),
        ("env.flag.on=1", ["env.flag is a single value"]),
        ("env.scene=5", ["env.scene is a group of options", "env.scene.num_envs=VALUE"]),
        ("env.sim.dt=fast", ["env.sim.dt=fast", "a number", "now 0.01"]),
        ("env.sim.dt=true", ["a number"]),
        ("env.sim.gravity=[1,2]", ["env.sim.gravity"]),
        ("env.sim.kind=c", ["one of a, b"]),
        ("env.scene.num_envs=8.5", ["a whole number"]),
        ("env.flag=1", ["true or false"]),
        ("env.seed=x", ["a whole number or none"]),
        ("agent.num_block=3", ["did you mean agent.num_blocks?"]),
        ("agent.subsample=rows", ["one of block, sequence, transition"]),
        ("env.=3", ["not understood"]),
        ("robot.x=3", ["not understood"]),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(configs, token, parts):
    with pytest.raises(InputError) as error:
        apply_override(configs, token)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert configs == {"env": Cfg(), "agent": SapgCfg()}


def test_values_are_read_as_isaac_lab_does():
    texts = ["true", "None", "3", "1e-3", "[1, 2]", "abc", "1,2"]
    assert [parse_value(text) for text in texts] == [True, None, 3, 1e-3, [1, 2], "abc", (1, 2)]


def test_get_option_reads_dictionaries_too():
    assert get_option({"a": {"b": [5, 6]}}, "a.b.1") == 6
    with pytest.raises(KeyError):
        get_option({"a": 1}, "a.b")
