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


def test_epo_is_a_set_of_options_and_the_released_code_also_tightens_sooner(tmp_path):
    kuka = ["--task", "SAPG-AllegroKuka-Reorient", "--num_envs", "12288"]
    plain, named, preset, released = (
        planned(tmp_path, *kuka, *options)
        for options in ([], ["--algorithm", "epo"], ["presets=epo"], ["presets=epo_released"])
    )
    assert named.agent_cfg == preset.agent_cfg and named.description["algorithm"] == "epo"
    for each in (named, preset, released):
        assert each.agent_cfg.num_blocks == each.env_cfg.num_blocks == 64
        assert (each.agent_cfg.evolution_interval, each.agent_cfg.evolution_start) == (20_000_000, 200_000_000)
        # the rest is the task's
        assert (each.agent_cfg.rnn_units, each.agent_cfg.entropy_loss_scale) == (768, 0.005)
    assert plain.env_cfg.curriculum.interval == preset.env_cfg.curriculum.interval == 3000
    assert released.env_cfg.curriculum.interval == 300
    assert (released.agent_cfg.evolution_fitness, released.agent_cfg.evolution_latents) == ("leader_slices", "frozen")
    fewer = planned(tmp_path, *kuka, "--algorithm", "epo", "agent.num_blocks=16", "agent.evolution_interval=1000")
    assert (fewer.agent_cfg.num_blocks, fewer.agent_cfg.evolution_interval) == (16, 1000)


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


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        ("SAPG-Allegro-Reorient", ["--algorithm", "cpo"], (0.0005, 0.1, 0.001, "policy")),
        ("SAPG-Allegro-Reorient", ["presets=cpo"], (0.0005, 0.1, 0.001, "policy")),
        ("SAPG-Allegro-Reorient", ["--algorithm", "cpo", "presets=small"], (0.0005, 0.1, 0.001, "policy")),
        ("SAPG-Allegro-Reorient", ["--algorithm", "cpo", "agent.awac_scale=0"], (0.0, 0.1, 0.001, "policy")),
        ("SAPG-Allegro-Reorient", ["--algorithm", "cpo", "presets=cpo_released"], (0.0005, 0.1, 0.001, "time")),
        ("SAPG-Shadow-Reorient", ["presets=cpo_released"], (0.001, 0.2, 0.01, "time")),
        ("SAPG-AllegroKuka-Throw", ["--algorithm", "cpo"], (0.001, 0.1, 0.0, "policy")),
        ("SAPG-AllegroKuka-Regrasp", ["presets=cpo"], (0.001, 0.2, 0.0, "policy")),
        ("SAPG-Allegro-Reorient", [], (0.0, 0.2, 0.0, "policy")),
    ],
)
def test_cpo_has_the_published_settings_of_the_task(task, options, expected, tmp_path):
    agent = planned(tmp_path, "--task", task, *options).agent_cfg
    names = ("awac_scale", "awac_temperature", "adversarial_scale", "adversarial_labels")
    assert tuple(getattr(agent, name) for name in names) == expected
    assert (agent.observation_moments == "minibatch_twice") is (expected[-1] == "time")
    assert agent.mini_batches == (4 if "presets=small" in options or "Kuka" in task else 2)
