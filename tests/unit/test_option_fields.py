"""Every field of every configuration acts, or is refused with what to use instead. A new field fails here first."""

import argparse
import ast
import dataclasses
from pathlib import Path

import pytest
from skrl.agents.torch.base import ExperimentCfg

import sapg_isaaclab
from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.agents.dexpbt.cfg import SAPG_ONLY
from sapg_isaaclab.commands import cli, declared, early, experiment, train
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.training.trainer import TrainerCfg

PACKAGE = Path(sapg_isaaclab.__file__).parent
KINDS = {algorithm.kind: name for name, algorithm in reversed(ALGORITHMS.items())}


def read_attributes(kind):
    """Names that the code of an algorithm reads of any object; its options' own file, where they are checked, aside."""
    shared = [path for path in PACKAGE.glob("agents/*.py")] + list(PACKAGE.glob("commands/*.py"))
    own = [path for path in PACKAGE.glob(f"agents/{kind}/*.py") if path.name != "cfg.py"]
    return {
        node.attr
        for path in (*own, *shared, *PACKAGE.glob("training/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_an_agent_is_read_by_its_code(kind):
    fields = {field.name for field in dataclasses.fields(ALGORITHMS[KINDS[kind]].cfg_class())}
    read = read_attributes(kind)
    if kind == "dexpbt":  # its learners are PPO, and what only SAPG has is refused
        read |= read_attributes("sapg") | set(SAPG_ONLY)
    assert fields - read == set()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_options_are_known_without_torch(algorithm):
    fields = {field.name for field in dataclasses.fields(ALGORITHMS[algorithm].cfg_class())}
    assert set(declared.options(algorithm)) == fields


def test_every_field_of_skrls_experiment_is_handled():
    fields = {field.name for field in dataclasses.fields(ExperimentCfg)}
    assert fields == {*experiment.KEPT, *experiment.MAPPED, *experiment.REFUSED}


def test_every_field_of_the_loop_is_an_option_of_train():
    options = {action.dest for action in train._parser()._actions}
    assert {field.name for field in dataclasses.fields(TrainerCfg)} - {"wandb_options"} <= options
    assert {f"wandb_{name}" for name in experiment.WANDB[:4]} <= options


def taken(*argv):
    args, tokens = cli.parse_early(train._parser(), cli.without_dashes(list(argv)))
    return args, experiment.take(args, tokens)


def test_the_group_becomes_options_of_the_command_line():
    args, left = taken(
        "agent.experiment.experiment_name=first",
        "agent.experiment.wandb=true",
        "agent.experiment.wandb_kwargs.project=p",
        "agent.experiment.wandb_kwargs.tags=[a,b]",
        "agent.experiment.directory=mine",
        "--wandb_group=g",
        "--agent.rollouts=4",
    )
    assert args.run_name == "first" and args.logger == "wandb"
    assert args.wandb_options == {"project": "p", "tags": ["a", "b"], "group": "g"}
    assert left == ["agent.experiment.directory=mine", "agent.rollouts=4"]


def test_tags_are_split_and_wandb_follows_from_its_options():
    args, _ = taken("--wandb_tags", "one, two")
    assert args.logger == "wandb" and args.wandb_options == {"tags": ["one", "two"]}
    args, _ = taken()
    assert args.logger is None and args.wandb_options is None


@pytest.mark.parametrize("name", experiment.REFUSED)
def test_what_has_no_meaning_is_refused_with_what_to_do(name):
    with pytest.raises(InputError, match=f"{name}=1 has no effect here: .*(use|drop)"):
        taken(f"agent.experiment.{name}=1")


def test_every_number_has_a_least_value():
    numbers = {
        action.dest
        for action in train._parser()._actions
        if action.type in (int, float) and action.dest not in ("seed",)
    }
    assert numbers <= set(early.LOWEST)
    for name in numbers:
        args = argparse.Namespace(**{name: early.LOWEST[name] - 1}, seed=None)
        with pytest.raises(InputError, match=f"--{name} .* at least"):
            early._numbers(args)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--agent.learning_rate=0.001", "agent.learning_rate=0.001"),
        ("--env.sim.dt=0.01", "env.sim.dt=0.01"),
        ("--physics=ovphysx", "physics=ovphysx"),
        ("--presets=paper", "presets=paper"),
        ("-agent.seed=1", "agent.seed=1"),
        ("--environment", "--environment"),
        ("--seed=1", "--seed=1"),
    ],
)
def test_dashes_before_an_override_are_dropped(typed, read):
    assert cli.without_dashes([typed]) == [read]


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    args, _ = cli.parse_early(train._parser(), ["--log_root=~/runs"])
    assert args.log_root == "/somewhere/runs"


def test_the_launchers_arguments_are_known_without_isaac_lab():
    from isaaclab.app import add_launcher_args

    theirs = argparse.ArgumentParser(add_help=False)
    add_launcher_args(theirs)
    assert {tuple(action.option_strings) for action in theirs._actions} == set(cli.LAUNCHER)
    for action in theirs._actions:
        assert (action.nargs == 0) == ("action" in cli.LAUNCHER[tuple(action.option_strings)])


def test_presets_and_engines_are_known_without_isaac_lab():
    from isaaclab_tasks.utils.preset_target import PresetTarget

    from sapg_isaaclab.commands import task_config

    groups = [
        group
        for task in task_config.sapg_tasks()
        if task.startswith("SAPG-")
        for algorithm in ALGORITHMS
        for group in task_config.declared_presets(task, algorithm).values()
    ]
    names = {name: value for group in groups for name, value in group.items() if name != "default"}
    assert set(declared.engines()) == {name for name, value in names.items() if PresetTarget.PHYSICS.matches(value)}
    assert set(names) <= declared.presets()
