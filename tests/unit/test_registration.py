"""Registration of the tasks, without a simulator."""

import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import gymnasium as gym
import yaml

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.tasks import register_tasks

TASK_ID = "SAPG-Allegro-Reorient"


def test_importing_the_package_imports_neither_torch_nor_isaaclab():
    code = (
        "import sys, sapg_isaaclab, gymnasium as gym\n"
        f"assert '{TASK_ID}' in gym.registry\n"
        "heavy = {'torch', 'isaaclab', 'skrl', 'warp', 'pxr'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_again_changes_nothing():
    before = gym.spec(TASK_ID)
    register_tasks()
    assert gym.spec(TASK_ID) is before


def test_registration_names_what_isaac_lab_looks_for():
    kwargs = gym.spec(TASK_ID).kwargs
    assert kwargs["env_cfg_entry_point"] == "sapg_isaaclab.tasks.in_hand.env_cfg:AllegroReorientEnvCfg"
    assert kwargs["sapg_cfg_entry_point"] == "sapg_isaaclab.tasks.in_hand.agents.allegro:AllegroReorientSapgCfg"
    assert kwargs["default_agent"] == "skrl"


def test_isaac_lab_finds_the_package_by_its_entry_point():
    points = {point.name: point.value for point in entry_points(group="isaaclab.tasks")}
    assert points["sapg_isaaclab"] == "sapg_isaaclab"


def test_skrl_configuration_has_the_papers_sizes():
    module, path = gym.spec(TASK_ID).kwargs["skrl_cfg_entry_point"].split(":")
    cfg = yaml.safe_load(files(module).joinpath(path).read_text())
    assert [net["layers"] for net in cfg["models"]["policy"]["network"]] == [[512, 256, 128]]
    assert cfg["agent"]["rollouts"] == 8
    assert cfg["agent"]["learning_epochs"] == 5
    assert cfg["agent"]["learning_rate"] == 5.0e-4
    assert cfg["agent"]["learning_rate_scheduler_kwargs"] == {"kl_threshold": 0.016}
