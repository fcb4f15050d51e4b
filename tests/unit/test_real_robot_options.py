"""What ``env.asymmetric``, ``presets=simtoolreal`` and ``presets=randomized`` come to, without a simulator."""

import pytest

from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.commands import cli, job, task_config, train
from sapg_isaaclab.errors import InputError

TASKS = [task for task in task_config.sapg_tasks() if task.startswith("SAPG-")]
KUKA = "SAPG-AllegroKuka-Throw"


def planned(tmp_path, *arguments, ranks=None):
    parsed = cli.parse(train._parser(), ["--device", "cpu", "--log_root", str(tmp_path), *arguments])
    return job.plan(*parsed, *([ranks] if ranks else []))


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_random_or_hidden_by_default(task):
    env_cfg, agent_cfg = task_config.resolve_configs(task, [])
    assert (env_cfg.events, env_cfg.action_noise_model, env_cfg.observation_noise_model) == (None, None, None)
    assert not env_cfg.asymmetric and env_cfg.pose_estimate.is_exact() and agent_cfg.critic_input == "observations"


@pytest.mark.parametrize("algorithm", ["sapg", "ppo", "dexpbt"])
def test_an_asymmetric_task_gives_its_state_to_the_critic(algorithm, tmp_path):
    made = planned(tmp_path, "--task", TASKS[0], "--algorithm", algorithm, "--num_envs", "12", "env.asymmetric=true")
    assert (made.agent_cfg.critic_input, made.agent_cfg.separate) == ("states", True)
    kept = ["--task", TASKS[0], "--num_envs", "12", "env.asymmetric=true", "agent.critic_input=observations"]
    assert planned(tmp_path, *kept).agent_cfg.critic_input == "observations"


def test_what_cannot_be_is_answered_at_the_door(tmp_path):
    with pytest.raises(
        InputError, match=r"no critic that sees more than its policy; drop the option, or use --algorithm"
    ):
        planned(tmp_path, "--task", TASKS[0], "--algorithm", "pql", "env.asymmetric=true")
    with pytest.raises(InputError, match=r"this task gives no state; add env.asymmetric=true"):
        planned(tmp_path, "--task", TASKS[0], "agent.critic_input=states", "agent.separate=true")
    assert not list(tmp_path.iterdir())


def test_simtoolreal_is_what_the_page_says(tmp_path):
    made = planned(tmp_path, "--task", KUKA, "presets=simtoolreal")
    env, agent = made.env_cfg, made.agent_cfg
    assert env.asymmetric and "joint_vel" in env.policy_items and "actions" not in env.policy_items
    assert (env.pose_estimate.max_delay, env.pose_estimate.position_noise) == (10, 0.01)
    assert (agent.rnn_units, agent.critic_rnn_units, agent.critic_input) == (1024, 0, "states")
    assert agent.hidden_sizes == agent.critic_hidden_sizes == (1024, 1024, 512, 512)
    assert (agent.learning_rate, agent.critic_learning_rate, agent.entropy_loss_scale) == (1e-4, 1e-4, 0.005)
    assert (agent.num_blocks, agent.rollouts, agent.learning_epochs, agent.mini_batches) == (6, 16, 2, 4)


def test_ranks_draw_numbers_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(job.distributed, "check", lambda *_: None)
    options = ["--task", KUKA, "--seed", "3", "presets=randomized"]
    seeds = [planned(tmp_path, *options, ranks=Ranks(rank, 2)).env_cfg.randomization_seed for rank in (0, 1)]
    assert seeds[0] == 3 != seeds[1]


@pytest.mark.parametrize("task", TASKS)
def test_randomised_numbers_can_be_changed_and_come_from_the_run(task, tmp_path):
    options = ["presets=randomized", "env.events.object_mass.params.mass_distribution_params=(0.9,1.1)"]
    options += ["env.action_noise_model.noise_cfg.std=0.02"]
    first = planned(tmp_path, "--task", task, "--seed", "3", *options)
    events = first.env_cfg.events
    assert events.object_mass.params["mass_distribution_params"] == (0.9, 1.1)
    assert first.env_cfg.action_noise_model.noise_cfg.std == 0.02
    assert first.env_cfg.randomization_seed == 3
    # what one run changed does not reach the next
    assert planned(tmp_path, "--task", task, options[0]).env_cfg.action_noise_model.noise_cfg.std == 0.05
