"""Registration of the AllegroKuka tasks and their agent configurations, without a simulator."""

import importlib
from importlib.resources import files

import gymnasium as gym
import pytest
import yaml

import sapg_isaaclab  # noqa: F401

TASKS = ("Regrasp", "Throw", "Reorient")


def presets(task):
    module, name = gym.spec(f"SAPG-AllegroKuka-{task}").kwargs["sapg_cfg_entry_point"].split(":")
    return getattr(importlib.import_module(module), name)()


@pytest.mark.parametrize("task", TASKS)
def test_registration_names_what_isaac_lab_looks_for(task):
    kwargs = gym.spec(f"SAPG-AllegroKuka-{task}").kwargs
    package = "sapg_isaaclab.tasks.allegro_kuka"
    assert kwargs["env_cfg_entry_point"] == f"{package}.env_cfg:AllegroKuka{task}EnvCfg"
    assert kwargs["sapg_cfg_entry_point"] == f"{package}.agents.allegrokuka:AllegroKuka{task}SapgCfg"
    assert kwargs["default_agent"] == "skrl"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("preset", "num_envs"), [("default", 24576), ("paper", 24576), ("small", 192)])
def test_agent_configurations_are_valid_and_have_the_papers_sizes(task, preset, num_envs):
    cfg = getattr(presets(task), preset)
    assert cfg.check(num_envs).num_blocks == 6
    assert (cfg.rollouts, cfg.learning_epochs, cfg.rollouts // cfg.mini_batches, cfg.sequence_length) == (16, 2, 4, 16)
    assert (cfg.learning_rate, cfg.ratio_clip, cfg.kl_threshold, cfg.latent_dim) == (1e-4, 0.1, 0.016, 32)
    assert cfg.entropy_loss_scale == (0.005 if task == "Reorient" else 0.0)
    assert cfg.timeout_bootstrap == ("final_obs" if preset == "paper" else "none")
    assert cfg.hidden_sizes == ((256, 128, 64) if preset == "small" else (768, 512, 256))
    assert cfg.experiment.directory == f"allegro_kuka_{task.lower()}"


def test_skrl_configuration_has_the_papers_sizes():
    module, path = gym.spec("SAPG-AllegroKuka-Throw").kwargs["skrl_cfg_entry_point"].split(":")
    cfg = yaml.safe_load(files(module).joinpath(path).read_text())
    assert [net["layers"] for net in cfg["models"]["value"]["network"]] == [[768, 512, 256]]
    agent = cfg["agent"]
    assert (agent["rollouts"], agent["learning_epochs"], agent["mini_batches"]) == (16, 2, 4)
    assert (agent["learning_rate"], agent["ratio_clip"], agent["value_clip"]) == (1e-4, 0.1, 0.1)
