import json
import os
import signal
import types

import numpy
import pytest
import torch

from same_state import assert_same_state
from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.block_tags import block_scalars
from sapg_isaaclab.errors import TrainingError
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.signals import STOP_SIGNALS
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv

NUM_ENVS, NUM_BLOCKS, ROLLOUTS = 12, 3, 4

torch.set_num_threads(1)


def make_trainer(path, max_iterations, seed=0, env_class=ToyEnv, run=None, agent=None, clips=None, **options):
    """A trainer of a tiny agent on the toy task."""
    torch.manual_seed(seed)
    env = env_class(NUM_ENVS, seed=seed, episode_length=6)
    options_of_agent = {"hidden_sizes": (16, 16), "latent_dim": 4, "learning_epochs": 2, **(agent or {})}
    cfg = SapgCfg(num_blocks=NUM_BLOCKS, rollouts=ROLLOUTS, seed=seed, **options_of_agent)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    run = run or RunFolder.create(path, "toy", {"task": "Toy"}, {"env": "{}\n", "agent": "{}\n"})
    return Trainer(env, agent, run, TrainerCfg(max_iterations=max_iterations, **options), {"task": "Toy"}, clips)


def test_2n_iterations_equal_n_resume_and_n_bit_by_bit(tmp_path):
    whole = make_trainer(tmp_path / "whole", 8, checkpoint_interval=4)
    whole.train()
    first = make_trainer(tmp_path / "parts", 4)
    first.train()
    torch.manual_seed(999)  # nothing of the first process is left
    second = make_trainer(tmp_path / "parts", 8, seed=7, run=first.run)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    assert second.iteration == 4 and second.env_steps == 4 * ROLLOUTS * NUM_ENVS
    second.train()
    assert_same_state(whole.state_dict(), second.state_dict())
    assert_same_state(checkpoint.load(checkpoint.latest(whole.run)), checkpoint.load(checkpoint.latest(second.run)))


def test_resume_continues_in_the_same_files(tmp_path):
    first = make_trainer(tmp_path, 2)
    first.train()
    second = make_trainer(tmp_path, 5, run=first.run)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    assert second.train() is None
    rows = metrics.read(first.run)
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["env_steps"] for row in rows] == [ROLLOUTS * NUM_ENVS * k for k in (1, 2, 3, 4, 5)]
    assert rows[-1]["Perf/wall_time_s"] > rows[1]["Perf/wall_time_s"]


def test_checkpoint_of_an_environment_without_state_restarts_its_episodes(tmp_path):
    class Plain(ToyEnv):
        state_dict = load_state_dict = None

        def __getattribute__(self, name):
            if name in ("state_dict", "load_state_dict"):
                raise AttributeError(name)
            return super().__getattribute__(name)

    first = make_trainer(tmp_path, 2, env_class=Plain)
    first.train()
    second = make_trainer(tmp_path, 4, env_class=Plain, run=first.run)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    assert second.episodes.state_dict()["running"].abs().sum() == 0
    second.train()
    assert second.iteration == 4


class Counting(ToyEnv):
    """Begins its episodes anew after a resume, and keeps what it has counted, as the simulated tasks do."""

    restores_episodes = False

    def state_dict(self):
        return {"successes": self.successes.clone()}

    def load_state_dict(self, state):
        self.successes.copy_(state["successes"])


def test_what_a_task_has_counted_goes_on_and_a_memory_that_is_thrown_away_is_not_saved(tmp_path):
    options = {"env_class": Counting, "agent": {"rnn_units": 8, "sequence_length": 2}}
    first = make_trainer(tmp_path, 2, **options)
    first.env.successes[:] = counted = torch.arange(12.0)
    first.save()
    saved = checkpoint.load(checkpoint.latest(first.run))
    assert torch.equal(saved["env"]["successes"], counted)
    first.train()
    saved_later = checkpoint.load(checkpoint.latest(first.run))
    assert first.agent.state_dict()["recurrent_state"] is not None
    assert saved_later["agent"]["recurrent_state"] is None
    second = make_trainer(tmp_path, 4, seed=1, run=first.run, **options)
    second.restore(saved)
    assert torch.equal(second.env.successes, counted)
    second.train()
    # an environment that goes on within its episodes needs the memory
    exact = make_trainer(tmp_path, 2, agent=options["agent"])
    exact.train()
    assert checkpoint.load(checkpoint.latest(exact.run))["agent"]["recurrent_state"] is not None


def test_max_iterations_is_the_total(tmp_path):
    first = make_trainer(tmp_path, 3)
    first.train()
    second = make_trainer(tmp_path, 3, run=first.run)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    second.train()
    assert second.iteration == 3
    assert [row["iteration"] for row in metrics.read(first.run)] == [1, 2, 3]


def test_leader_metrics_ignore_followers(tmp_path):
    class LeaderPaid(ToyEnv):
        def step(self, actions):
            observations, rewards, terminated, truncated, infos = super().step(actions)
            rewards = torch.zeros(NUM_ENVS, 1)
            rewards[: NUM_ENVS // NUM_BLOCKS] = 1.0
            return observations, rewards, terminated, truncated, infos

    trainer = make_trainer(tmp_path, 4, env_class=LeaderPaid)
    trainer.train()
    row = metrics.read(trainer.run)[-1]
    # one per step, and rewards are reported before the agent scales them by 0.01
    assert row["Leader/return"] == pytest.approx(row["Leader/length"])
    assert row["Block_0/return"] == row["Leader/return"]
    assert row["Block_1/return"] == row["Block_2/return"] == 0.0


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_not_a_number_from_the_environment_stops_before_learning(tmp_path, what):
    class Broken(ToyEnv):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            if self.steps == 2 * ROLLOUTS + 1:
                (rewards if what == "reward" else observations)[3] = float("nan")
                self.bad = observations.clone(), rewards.clone()
            return observations, rewards, *rest

    trainer = make_trainer(tmp_path, 5, env_class=Broken, checkpoint_interval=2)
    with pytest.raises(TrainingError, match=rf"a {what} that is not finite .* in iteration 3; .*intact") as error:
        trainer.train()
    assert "\n" not in str(error.value) and "; 1 of 12 environments: 3; what they saw: " in str(error.value)
    seen = numpy.load(str(error.value).rpartition(": ")[2])
    assert seen["env_ids"].tolist() == [3] and seen["steps"].tolist() == [0]
    observations, rewards = trainer.env.bad
    numpy.testing.assert_array_equal(seen["next_observations"], observations[3:4])
    numpy.testing.assert_array_equal(seen["rewards"], rewards[3:4])
    assert seen["observations"].shape == (1, 5) and seen["actions"].shape == (1, 2)
    saved = checkpoint.load(checkpoint.latest(trainer.run))
    assert saved["iteration"] == 2
    for name, value in trainer.agent.model.state_dict().items():
        assert torch.equal(value, saved["agent"]["policies"]["model"][name])


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_ends_the_iteration_and_leaves_a_checkpoint(tmp_path, number):
    class Interrupted(ToyEnv):
        def step(self, actions):
            if self.steps == ROLLOUTS + 1:
                os.kill(os.getpid(), number)
            return super().step(actions)

    before = signal.getsignal(number)
    trainer = make_trainer(tmp_path, 50, env_class=Interrupted)
    assert trainer.train() == signal.Signals(number).name
    assert signal.getsignal(number) == before
    assert checkpoint.load(checkpoint.latest(trainer.run))["iteration"] == trainer.iteration == 2


def test_checkpoints_come_by_iterations_and_old_ones_go(tmp_path):
    trainer = make_trainer(tmp_path, 9, checkpoint_interval=2, keep_checkpoints=2)
    trainer.train()
    best = trainer.best["iteration"]
    assert set(checkpoint.numbered(trainer.run)) == {8, 9, best}
    assert checkpoint.latest(trainer.run).name == "agent_9.pt"
    assert checkpoint.best(trainer.run).name == f"agent_{best}.pt"


def test_checkpoints_come_by_minutes(tmp_path):
    trainer = make_trainer(tmp_path, 3, checkpoint_interval=1000, checkpoint_minutes=1e-9, keep_checkpoints=0)
    trainer.train()
    assert set(checkpoint.numbered(trainer.run)) == {1, 2, 3}


def test_best_is_by_successes_then_return(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    trainer.episodes.finished[0] = 100
    means = {"return": 1.0, "length": 5.0, "successes": 0.0}
    trainer.episodes.mean = lambda block: means
    decisions = []
    for successes, value in [(0, 1), (0, 2), (0, 1.5), (0.04, 1.9), (0.01, 3), (1, -5), (0.9, 50), (1, -4)]:
        means |= {"return": value, "successes": successes}
        decisions.append(trainer._is_best())
    assert decisions == [True, True, False, False, True, True, False, True]


def test_best_prefers_a_tighter_tolerance_over_easy_successes(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    trainer.episodes.finished[0] = 100
    means = {"return": 1.0, "length": 5.0, "successes": 3.0}
    trainer.episodes.mean = lambda block: means
    decisions = []
    for tolerance, successes in [(0.075, 3.0), (0.0675, 1.0), (0.075, 4.0), (0.0675, 2.0)]:
        trainer._tolerance = tolerance
        means["successes"] = successes
        decisions.append(trainer._is_best())
    assert decisions == [True, True, False, True]


@pytest.mark.parametrize("groups", [3, 20])
def test_the_tolerance_that_counts_is_the_leaders_however_many_policies_have_one(groups, tmp_path):
    trainer = make_trainer(tmp_path, 1)
    values = {"tolerance": torch.arange(float(groups)), "goal_angle": torch.arange(float(groups)) + 0.5}
    trainer.env.curriculum = types.SimpleNamespace(values=values)
    trainer.agent.layout = BlockLayout(groups, groups, leader=2)
    row = {"Metrics/success_tolerance": 9.0}
    assert trainer._in_force(row, "Tolerance", "Metrics/success_tolerance") == 9.0  # one for all
    row |= block_scalars("Tolerance/block_{}", values["tolerance"]) | block_scalars(
        "Goal_angle/block_{}", values["goal_angle"]
    )
    assert trainer._in_force(row, "Tolerance", "Metrics/success_tolerance") == 2.0
    assert trainer._in_force(row, "Goal_angle", "Metrics/goal_angle") == 2.5


def test_best_prefers_goals_farther_away_at_the_same_tolerance(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    trainer.episodes.finished[0] = 100
    means = {"return": 1.0, "length": 5.0, "successes": 3.0}
    trainer.episodes.mean = lambda block: means
    decisions = []
    for tolerance, angle, successes in [(0.2, 0.8, 3.0), (0.2, 0.88, 1.0), (0.2, 0.8, 4.0), (0.19, 0.5, 0.0)]:
        trainer._tolerance, trainer._goal_angle = tolerance, angle
        means["successes"] = successes
        decisions.append(trainer._is_best())
    assert decisions == [True, True, False, True]
    # a checkpoint of a version that knew no angle
    del trainer.best["goal_angle"]
    assert trainer._is_best()


def test_no_checkpoint_is_best_before_every_environment_could_finish(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    trainer.episodes.finished[0] = NUM_ENVS // NUM_BLOCKS - 1
    assert not trainer._is_best()


def test_checkpoint_describes_its_blocks(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    trainer.train()
    saved = checkpoint.load(checkpoint.latest(trainer.run))
    assert saved["blocks"] == {"num_blocks": 3, "leader": 0, "block_size": 4, "ids": [0, 1, 2]}
    assert saved["versions"]["torch"] == str(torch.__version__).split("+")[0] or saved["versions"]["torch"]
    assert json.dumps(saved["versions"])


def test_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, 2, checkpoint_interval=1)
    real, calls = torch.save, []

    def save(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(TrainingError, match="No space left on device; earlier checkpoints are intact"):
        trainer.train()
    assert checkpoint.load(checkpoint.latest(trainer.run))["iteration"] == 1
    assert [path.name for path in trainer.run.checkpoints.iterdir()] == ["agent_1.pt"]
