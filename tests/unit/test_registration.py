"""Registration of the tasks, without a simulator: what it names exists, and fits together."""

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import gymnasium as gym
import pytest
import yaml

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.tasks import register_tasks

TASKS = sorted(name for name in gym.registry if name.startswith("SAPG-"))


def resolve(entry_point):
    module, name = entry_point.split(":")
    if name.endswith(".yaml"):
        return yaml.safe_load(files(module).joinpath(name).read_text())
    return getattr(importlib.import_module(module), name)


def test_importing_the_package_imports_neither_torch_nor_isaaclab():
    code = (
        "import sys, sapg_isaaclab, gymnasium as gym\n"
        f"assert '{TASKS[0]}' in gym.registry\n"
        "heavy = {'torch', 'isaaclab', 'skrl', 'warp', 'pxr'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_again_changes_nothing():
    before = gym.spec(TASKS[0])
    register_tasks()
    assert gym.spec(TASKS[0]) is before


def test_isaac_lab_finds_the_package_by_its_entry_point():
    points = {point.name: point.value for point in entry_points(group="isaaclab.tasks")}
    assert points["sapg_isaaclab"] == "sapg_isaaclab"


@pytest.mark.parametrize("task", TASKS)
def test_everything_that_a_registration_names_exists(task):
    spec = gym.spec(task)
    made = {name: resolve(value)() for name, value in spec.kwargs.items() if name.endswith("_cfg_entry_point")
            and not value.endswith(".yaml")}  # fmt: skip
    assert made.keys() == {f"{name}_cfg_entry_point" for name in ("env", "sapg", "dexpbt", "pql")}
    assert made["env_cfg_entry_point"].num_blocks == 1
    assert f"{spec.kwargs['default_agent']}_cfg_entry_point" in spec.kwargs
    # a misspelled algorithm or preset would be options that nobody is given
    options = resolve(spec.kwargs["agent_options_entry_point"])
    assert options.keys() == {"sapg", "dexpbt", "pql"}
    for name, presets in options.items():
        assert presets.keys() <= set(vars(made[f"{name}_cfg_entry_point"]))


@pytest.mark.parametrize("task", TASKS)
def test_options_of_agents_are_plain_and_need_no_agent(task):
    place = gym.spec(task).kwargs["agent_options_entry_point"]
    code = (
        "import json, sys, importlib\n"
        "import sapg_isaaclab\n"
        f"module, name = {place!r}.split(':')\n"
        "json.dumps(getattr(importlib.import_module(module), name))\n"
        "assert not {'torch', 'isaaclab', 'skrl', 'sapg_isaaclab.agents'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("task", TASKS)
def test_plain_ppo_of_skrl_is_our_ppo_preset(task):
    kwargs = gym.spec(task).kwargs
    skrl, ours = resolve(kwargs["skrl_cfg_entry_point"]), resolve(kwargs["sapg_cfg_entry_point"])().ppo
    for net in skrl["models"]["policy"]["network"] + skrl["models"]["value"]["network"]:
        assert tuple(net["layers"]) == ours.hidden_sizes
    agent = skrl["agent"]
    same = ("rollouts", "learning_epochs", "mini_batches", "learning_rate", "ratio_clip", "grad_norm_clip",
            "discount_factor", "gae_lambda", "value_loss_scale")  # fmt: skip
    assert {name: agent[name] for name in same} == {name: getattr(ours, name) for name in same}
    assert agent["learning_rate_scheduler_kwargs"]["kl_threshold"] == ours.kl_threshold
    assert agent["rewards_shaper_scale"] == ours.rewards_scale
