"""An algorithm is a package and one line; whose options are whose."""

import dataclasses
import pathlib
import subprocess
import sys

import gymnasium as gym
import pytest
import torch

from hill_climbing.cfg import HillClimbingCfg
from sapg_isaaclab.agents.algorithms import ALGORITHMS, Algorithm, algorithm_of
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPBT, DexPbtCfg
from sapg_isaaclab.agents.pql import PQL, PqlCfg
from sapg_isaaclab.agents.sapg import SAPG, SapgCfg
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv

torch.set_num_threads(1)


@pytest.fixture
def hill_climbing(monkeypatch):
    # the one line
    monkeypatch.setitem(ALGORITHMS, "hill_climbing", Algorithm("hill_climbing", cfg="HillClimbingCfg"))


def make_trainer(tmp_path, iterations):
    env = ToyEnv(64, seed=3)
    cfg = HillClimbingCfg(seed=3)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    run = RunFolder.create(tmp_path, "hill_climbing", {}, {})
    description = {"task": "toy", "algorithm": "hill_climbing"}
    return Trainer(env, build_agent(env, cfg), run, TrainerCfg(max_iterations=iterations), description)


def test_one_of_somebody_elses_is_built_trained_saved_and_resumed_bit_for_bit(hill_climbing, tmp_path):
    straight = make_trainer(tmp_path / "straight", 60)
    straight.train()
    first = make_trainer(tmp_path / "first", 35)
    first.train()
    saved = checkpoint.load(checkpoint.latest(first.run))
    assert saved["iteration"] == 35
    second = make_trainer(tmp_path / "second", 60)
    second.restore(saved)
    assert second.train() is None
    assert second.agent.weight.equal(straight.agent.weight) and not second.agent.weight.equal(first.agent.weight)
    assert second.agent.best_reward.equal(straight.agent.best_reward)
    assert second.env.position.equal(straight.env.position)
    assert straight.agent.metrics == second.agent.metrics
    # and it climbs: points at rest are about 1.04 from their goals
    assert ToyEnv(1000).step(torch.zeros(1000, 2))[1].mean().item() == pytest.approx(-1.04, abs=0.06)
    assert straight.agent.best_reward.item() > -0.75


def test_its_policy_alone_acts_in_any_number_of_environments(hill_climbing, tmp_path):
    trainer = make_trainer(tmp_path, 5)
    trainer.train()
    alone = build_agent(ToyEnv(3), HillClimbingCfg(), with_memory=False)
    alone.load_policy(checkpoint.load(checkpoint.latest(trainer.run))["agent"])
    observations = torch.randn(3, 5)
    assert alone.player()(observations).equal(observations @ trainer.agent.best.T)
    with pytest.raises(ValueError, match="not of hill climbing"):
        alone.load_policy({"policies": {}})


def test_its_options_and_presets_reach_every_task(hill_climbing):
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    from sapg_isaaclab.commands.agent_presets import agent_presets
    from sapg_isaaclab.commands.task_config import agent_entry_point

    task = "SAPG-Allegro-Reorient"
    try:
        assert load_cfg_from_registry(task, agent_entry_point(task, "hill_climbing")).bold.step == 0.5
    finally:
        del gym.spec(task).kwargs["hill_climbing_cfg_entry_point"]
    options = {"default": {"rollouts": 4}, "bold": {"step": 0.7}, "shy": {"step": 0.01}}
    presets = agent_presets("hill_climbing", options)()
    assert (presets.default.step, presets.bold.step, presets.shy.step) == (0.3, 0.7, 0.01)
    assert {cfg.rollouts for cfg in (presets.default, presets.bold, presets.shy)} == {4}
    with pytest.raises(ValueError, match="there is no algorithm 'unknown'; use one of sapg, ppo"):
        agent_presets("unknown", {})


def test_it_trains_in_one_process_unless_its_line_says_otherwise(hill_climbing, monkeypatch):
    import sapg_isaaclab.agents.build as build_module
    from sapg_isaaclab.agents.ranks import Ranks

    monkeypatch.setattr(build_module.Ranks, "current", classmethod(lambda cls: Ranks(0, 2)))
    with pytest.raises(ValueError, match="HillClimbingCfg trains in one process; on several ranks use SapgCfg"):
        build_agent(ToyEnv(4), HillClimbingCfg())


@dataclasses.dataclass(kw_only=True)
class MineCfg(SapgCfg):
    """Somebody's options on top of SAPG's."""

    rollouts: int = 4
    flavour: str = "vanilla"


@dataclasses.dataclass(kw_only=True)
class MyPqlCfg(PqlCfg):
    """Somebody's options on top of PQL's."""


@pytest.mark.parametrize(
    ("cfg", "agent"),
    [
        (SapgCfg(num_blocks=2, rollouts=4, sequence_length=4), SAPG),
        (MineCfg(num_blocks=2, sequence_length=4), SAPG),
        (DexPbtCfg(num_blocks=3, rollouts=4, sequence_length=2), DexPBT),  # extends SapgCfg, and is none
        (MyPqlCfg(replay_size=100), PQL),
    ],
)
def test_the_nearest_known_class_of_the_options_decides(cfg, agent):
    built = build_agent(ToyEnv(12), cfg)
    assert type(built) is agent and built.cfg is cfg


def test_options_of_nobody_are_refused():
    from skrl.agents.torch import AgentCfg

    with pytest.raises(ValueError, match=r"AgentCfg is no algorithm's options; use or extend one of DexPbtCfg, Pql"):
        build_agent(ToyEnv(4), AgentCfg())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_line_leads_to_options_a_builder_and_presets(name):
    algorithm = ALGORITHMS[name]
    cfg = algorithm.cfg_class()()
    assert algorithm_of(cfg).kind == algorithm.kind
    presets = algorithm.presets()
    assert not algorithm.preset or algorithm.preset in presets
    names = {field.name for field in dataclasses.fields(cfg)}
    assert all(set(options) <= names for options in presets.values())


def test_names_are_known_without_torch():
    code = "import sys; from sapg_isaaclab.agents.algorithms import ALGORITHMS; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_contributing_names_the_files_of_the_example():
    text = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    example = pathlib.Path(__file__).parents[1] / "hill_climbing"
    for file in ("cfg.py", "agent.py", "build.py"):
        assert (example / file).exists() and f"`{file}`" in text
    assert "tests/hill_climbing" in text


def test_a_checkpoint_of_an_algorithm_that_nothing_registers_is_refused_in_one_line():
    from sapg_isaaclab.commands.task_config import resolve_configs

    with pytest.raises(InputError, match=r"^algorithm 'theirs' is not known here, .* --task module:ID$"):
        resolve_configs("SAPG-Allegro-Reorient", [], "theirs")
