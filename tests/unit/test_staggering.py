"""Where first episodes begin, and that those which are shortened so do not count."""

import argparse
import collections

import pytest
import torch

from no_stall import no_stall
from same_state import assert_same_state
from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt.objective import Objectives
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.commands import task_config, train
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.episodes import EpisodeTracker
from sapg_isaaclab.training.staggering import CHOICES, initial_steps
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv

torch.set_num_threads(1)

LENGTH, T, N, M = 20, 4, 12, 3
HAND = {"episode_length": 600, "rollouts": 8, "seed": 1}


def test_blocks_gives_every_policy_the_same_phases():
    steps = initial_steps("blocks", BlockLayout(6 * 4096, 6), **HAND).view(6, -1)
    assert (steps == steps[0]).all()
    counts = collections.Counter(steps[0].tolist())
    # 75 phases, and 4096 = 75 x 54 + 46
    assert sorted(counts) == list(range(0, 600, 8))
    assert collections.Counter(counts.values()) == {54: 75 - 46, 55: 46}


def test_few_environments_spread_over_the_whole_episode():
    # ten of 75 phases, 7.5 phases apart: 0, 7, 15, 22, 30, 37, 45, 52, 60, 67
    steps = initial_steps("blocks", BlockLayout(20, 2), **HAND)
    assert steps.tolist() == 2 * [0, 56, 120, 176, 240, 296, 360, 416, 480, 536]
    # an episode of 10 steps has phases 0, 4 and 8
    assert initial_steps("blocks", BlockLayout(3, 1), episode_length=10, rollouts=4, seed=0).tolist() == [0, 4, 8]


def test_every_learner_of_every_rank_has_the_same_phases():
    whole = initial_steps("blocks", BlockLayout(40, 4), **HAND)
    parts = [initial_steps("blocks", BlockLayout(20, 4, spread=Ranks(rank, 2)), **HAND) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


def test_random_is_uniform_over_the_episode_and_seeded():
    layout = BlockLayout(6000, 6)
    steps = initial_steps("random", layout, **HAND)
    assert steps.min() >= 0 and steps.max() == 599 and steps.dtype == torch.long
    assert steps.double().mean().item() == pytest.approx(299.5, abs=4 * 173.2 / 6000**0.5)
    assert torch.equal(steps, initial_steps("random", layout, **HAND))
    assert not torch.equal(steps, initial_steps("random", layout, **{**HAND, "seed": 2}))
    assert not initial_steps("zero", layout, **HAND).any()


def test_a_shortened_episode_enters_no_mean_and_the_next_one_does(device):
    tracker = EpisodeTracker(BlockLayout(2, 1), rollouts=2, device=device)
    tracker.leave_out(torch.tensor([True, False], device=device))
    done = torch.tensor([True, True], device=device)
    rewards = torch.tensor([[100.0, 3.0], [1.0, 5.0]], device=device)
    with no_stall(device):
        for index in range(2):
            tracker.step(index, rewards[index], done)
    resumed = EpisodeTracker(BlockLayout(2, 1), rollouts=2, device=device)
    resumed.load_state_dict(tracker.state_dict())
    tracker.finish_iteration()
    assert tracker.mean(0) == {"return": 3.0, "length": 1.0} and tracker.finished == [3]
    assert not resumed.shortened.any()


def test_a_shortened_episode_ranks_no_learner():
    late, done = torch.tensor([True, False, False, False]), torch.ones(4, dtype=torch.bool)
    ranked, paid = (Objectives(BlockLayout(4, 2), 1, "cpu") for _ in range(2))
    for shortened, known in ((late, [None, 7.0]), (None, [7.0, 7.0])):
        ranked.step(0, torch.zeros(4), done, torch.full((4,), 7.0), shortened)
        paid.step(0, torch.full((4,), 7.0), done, None, shortened)
        for objectives in (ranked, paid):
            objectives.finish_iteration()
            assert objectives.now == known


class Timed(ToyEnv):
    """Counts the steps of its episodes as Isaac Lab does. Like the simulated tasks, it does not restore them."""

    restores_episodes = False

    @property
    def max_episode_length(self):
        return self.episode_length

    @property
    def episode_length_buf(self):
        return self.age

    def reset(self):
        observations = super().reset()
        self.age.zero_()
        return observations

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        return None


class Whole(Timed):
    """The same, which restores everything."""

    restores_episodes = True
    state_dict, load_state_dict = ToyEnv.state_dict, ToyEnv.load_state_dict


def make_trainer(run, iterations, env_class=Timed, seed=0, **options):
    torch.manual_seed(seed)
    env = env_class(N, seed=seed, episode_length=LENGTH)
    env.position.zero_()
    cfg = SapgCfg(num_blocks=M, rollouts=T, hidden_sizes=(16,), learning_epochs=1, seed=seed)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    return Trainer(env, build_agent(env, cfg), run, TrainerCfg(max_iterations=iterations, **options), {"seed": seed})


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "toy", {}, {})


def test_training_begins_there_and_leaves_the_first_episodes_out(run):
    trainer = make_trainer(run, 6, initial_steps="blocks")
    ages, step = [], trainer.env.step

    def recorded(actions):
        ages.append(trainer.env.age.clone())
        return step(actions)

    trainer.env.step = recorded
    trainer.train()
    # L = 20, T = 4: five phases for four environments of each policy
    assert ages[0].tolist() == M * [0, 4, 8, 12]
    # after 20 steps those that began at 0 have finished an episode of 20 steps; after 24 none of the shortened ones has
    # finished its second
    assert trainer.episodes.finished == [1] * M and trainer.episodes.mean(0)["length"] == LENGTH


def test_by_default_nothing_is_touched(run):
    trainer = make_trainer(run, 1)
    trainer.train()
    assert trainer.episodes.shortened is None and trainer.state_dict()["steps"] is None
    assert trainer.env.age.tolist() == [T] * N


@pytest.mark.parametrize("how", ["random", "blocks"])
def test_2n_iterations_equal_n_resume_and_n_bit_by_bit(how, tmp_path):
    whole, parts = (RunFolder.create(tmp_path, name, {}, {}) for name in ("whole", "parts"))
    expected = make_trainer(whole, 6, Whole, initial_steps=how)
    expected.train()
    make_trainer(parts, 3, Whole, initial_steps=how).train()
    second = make_trainer(parts, 6, Whole, seed=7, initial_steps=how)
    second.description["seed"] = 0
    second.restore(checkpoint.load(checkpoint.latest(parts)))
    assert second.episodes.shortened.any()
    second.train()
    assert_same_state(expected.state_dict(), second.state_dict())


def test_where_a_resume_begins_new_episodes_they_end_when_the_old_ones_would_have(run):
    first = make_trainer(run, 3, initial_steps="random")
    first.train()
    saved = checkpoint.load(checkpoint.latest(run))
    second = make_trainer(run, 4, seed=7, initial_steps="random")
    second.restore(saved)
    assert torch.equal(second.env.age, first.env.age) and len(set(first.env.age.tolist())) > 3
    assert torch.equal(second.episodes.shortened, first.env.age > 0)
    second.train()  # and draws nothing anew
    assert ((second.env.age == first.env.age + T) | (second.env.age < T)).all()


def test_the_command_offers_what_there_is():
    (action,) = [each for each in train._parser()._actions if each.dest == "initial_steps"]
    assert tuple(action.choices) == CHOICES


def test_a_run_goes_on_as_it_began():
    saved = {
        "task": "T",
        "algorithm": "sapg",
        "num_envs": 6,
        "seed": 1,
        "overrides": [],
        "agent_cfg": {},
        "trainer": {},
    }
    names = dict.fromkeys(("task", "algorithm", "num_envs", "seed", "initial_steps"))
    task_config.check_resume(argparse.Namespace(**names), [], saved)
    task_config.check_resume(argparse.Namespace(**{**names, "initial_steps": "zero"}), [], saved)
    with pytest.raises(
        InputError, match="--initial_steps blocks is of the start of a run, .* began with zero; drop it"
    ):
        task_config.check_resume(argparse.Namespace(**{**names, "initial_steps": "blocks"}), [], saved)
