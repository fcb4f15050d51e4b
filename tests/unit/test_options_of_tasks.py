"""What a command makes of the options that all tasks share, without a simulator."""

import pytest

from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.commands import cli, job, train
from sapg_isaaclab.errors import InputError


def planned(tmp_path, *arguments, ranks=ALONE):
    common = ["--task", "SAPG-Allegro-Reorient", "--num_envs", "12", "--device", "cpu", "--log_root", str(tmp_path)]
    return job.plan(*cli.parse(train._parser(), [*common, *arguments]), ranks)


def test_ranks_share_the_learners_of_a_population(tmp_path, monkeypatch):
    second = Ranks(1, 2)
    monkeypatch.setattr(job.distributed, "check", lambda *_: None)
    monkeypatch.setattr(Ranks, "current", lambda: second)
    for algorithm, here in (("dexpbt", (3, 3)), ("sapg", (6, 0)), ("pql", (1, 0))):
        made = planned(tmp_path, "--algorithm", algorithm, ranks=second)
        assert (made.env_cfg.num_blocks, made.env_cfg.first_block) == here
        assert made.description["ranks"] == 2
    population = ("--algorithm", "dexpbt")
    with pytest.raises(InputError, match="num_blocks is 5, which 2 ranks cannot share equally"):
        planned(tmp_path, *population, "agent.num_blocks=5", ranks=second)
    with pytest.raises(
        InputError, match="--video_blocks 4 is not on rank 0, which films; use one of its blocks, 0 to 2"
    ):
        planned(tmp_path, *population, "--video", "--video_blocks", "4", ranks=second)


def test_where_first_episodes_begin_is_an_option_of_training(tmp_path):
    made = planned(tmp_path, "--initial_steps", "blocks")
    assert made.trainer_cfg.initial_steps == made.description["trainer"]["initial_steps"] == "blocks"
    assert planned(tmp_path).trainer_cfg.initial_steps == "zero"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], False),  # the official agent takes the value of the state before the step
        (["agent.timeout_bootstrap=final_obs"], True),
        (["env.compute_final_obs=true"], True),
        (["--algorithm", "pql"], False),
    ],
)
def test_last_observations_are_made_for_agents_that_read_them(options, wanted, tmp_path):
    assert planned(tmp_path, *options).env_cfg.compute_final_obs is wanted


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("env.on_nan=skip", "on_nan='skip' is unknown; use 'reset' or 'stop'"),
        ("env.nan_limit=-1", r"nan_limit=-1.* is not allowed; use a share of the environments"),
        ("env.physx_threads=0", "physx_threads=0 is not allowed"),
    ],
)
def test_values_without_meaning_are_answered_at_the_door(option, message, tmp_path):
    with pytest.raises(InputError, match=message):
        planned(tmp_path, option)
    assert not list(tmp_path.iterdir())
