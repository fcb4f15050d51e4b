"""The policies that come with the package: small, complete, and fitting today's tasks."""

import pytest
import torch

import sapg_isaaclab  # noqa: F401  registers the tasks
from sapg_isaaclab.commands.job import saved_configs
from sapg_isaaclab.deploy.restore import restore_agent
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import experiment_name

FILES = sorted(checkpoint.PRETRAINED.glob("*.pt"))


def test_there_is_one():
    assert [path.stem for path in FILES] == ["allegro_reorient"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_acts_in_the_task_it_is_found_for(path):
    assert path.stat().st_size < 2e6
    saved = checkpoint.load(path)
    assert set(saved["agent"]) == {"policies"}
    task, env_cfg, agent_cfg = saved_configs(saved)
    assert checkpoint.resolve("pretrained", "nowhere", experiment_name(task, agent_cfg)) == path
    agent = restore_agent(saved["agent"], agent_cfg, "the file")
    player = agent.player(saved["blocks"]["leader"], deterministic=True)
    actions = player(torch.zeros(3, 88))
    assert actions.shape == (3, env_cfg.action_space) and torch.isfinite(actions).all()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_card_says_what_it_is_and_cannot_do(path):
    card, saved = path.with_suffix(".md").read_text(encoding="utf-8"), checkpoint.load(path)
    assert card.startswith(f"# {saved['task']}\n")
    for words in ("million env-steps", "presets=small", "holds still", "What it cannot do"):
        assert words in card
