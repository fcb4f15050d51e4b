"""The small preset of the in-hand tasks: what it changes, and that nothing else does."""

import pytest

import sapg_isaaclab  # noqa: F401  registers the tasks
from sapg_isaaclab.commands import cli, playing, policy_choice
from sapg_isaaclab.commands.task_config import resolve_configs

TASKS = ("SAPG-Allegro-Reorient", "SAPG-Shadow-Reorient")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("presets", [[], ["presets=paper"]])
def test_the_paper_knows_no_curriculum(task, presets):
    env_cfg, _ = resolve_configs(task, presets)
    assert env_cfg.curriculum.enabled is False and env_cfg.success_tolerance == 0.1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", ["sapg", "dexpbt"])
def test_small_begins_with_near_goals_and_can_be_told_not_to(task, algorithm):
    env_cfg, agent_cfg = resolve_configs(task, ["presets=small"], algorithm)
    assert env_cfg.curriculum.enabled is True and env_cfg.scene.num_envs == 384
    assert agent_cfg.hidden_sizes == (256, 128, 64) and agent_cfg.initial_log_std == -1.0
    agent_cfg.check(env_cfg.scene.num_envs)
    env_cfg, _ = resolve_configs(task, ["presets=small", "env.curriculum.enabled=false"], algorithm)
    assert env_cfg.curriculum.enabled is False


def test_presets_share_no_curriculum():
    first, _ = resolve_configs(TASKS[0], ["presets=small"])
    first.curriculum.threshold = 99.0
    assert resolve_configs(TASKS[0], ["presets=small"])[0].curriculum.threshold == 1.0


@pytest.mark.parametrize(("tokens", "enabled"), [([], False), (["env.curriculum.enabled=true"], True)])
def test_playing_and_evaluating_show_the_official_task(tokens, enabled):
    parser = cli.parser("")
    policy_choice.add_arguments(parser)
    arguments = ["--checkpoint", "none", "--task", TASKS[0], "--device", "cpu", "presets=small", *tokens]
    job = playing.plan(*cli.parse(parser, arguments), num_envs=3)
    assert job.env_cfg.curriculum.enabled is enabled
    assert job.overrides == ["presets=small", *tokens]
