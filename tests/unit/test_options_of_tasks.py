"""What a command makes of the options that all tasks share, without a simulator."""

import pytest

from sapg_isaaclab.commands import cli, job, train
from sapg_isaaclab.errors import InputError


def planned(tmp_path, *arguments):
    common = ["--task", "SAPG-Allegro-Reorient", "--num_envs", "12", "--device", "cpu", "--log_root", str(tmp_path)]
    return job.plan(*cli.parse(train._parser(), [*common, *arguments]))


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
