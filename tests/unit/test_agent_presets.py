"""Every preset of every task is a valid agent, and differs from the default in what its name says."""

import dataclasses

import gymnasium as gym
import pytest

import sapg_isaaclab  # noqa: F401  registers the tasks

TASKS = sorted(name for name in gym.registry if name.startswith("SAPG-"))


@pytest.mark.parametrize("task", TASKS)
def test_presets_are_valid_and_independent(task):
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    presets = load_cfg_from_registry(task, "sapg_cfg_entry_point")
    names = [field.name for field in dataclasses.fields(presets)]
    assert {"default", "paper", "symmetric", "mu_clip", "ppo", "epo", "epo_released"} <= set(names)
    for name in names:
        cfg = getattr(presets, name)
        layout = cfg.check(24576)
        assert layout.num_blocks == (1 if name.startswith("ppo") else 64 if name.startswith("epo") else 6)
    assert presets.mu_clip.importance_clip == "mu" and presets.default.importance_clip == "unit"
    # changing one run's options must not change the next one's
    presets.default.num_blocks = 4
    assert load_cfg_from_registry(task, "sapg_cfg_entry_point").default.num_blocks == 6
