"""DexPBT and PQL on two ranks, as real processes, beside one process on the same data."""

import copy
import itertools

import pytest
import torch

from same_state import assert_same_state, flatten
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.pql.agent import exploration
from sapg_isaaclab.agents.pql.replay import Transitions
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.tasks.curriculum import Curriculum
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv, run
from toy_population import SMALL, PopulationEnv

M, B, T, SIZE = 4, 4, 4, 2
WORTH = {1: (1.0, 5.0, 9.0, 7.0), 5: (9.0, 8.0, 1.0, 7.0)}
"""What the episodes of each learner are worth, from an iteration on. Learners 0 and 1 are rank 0's, 2 and 3 rank 1's:
those of rank 0 are replaced from rank 1 first, then the other way round."""
POPULATION = {**SMALL, "num_blocks": M, "interval": 32, "mutation_rate": 0.5, "rnn_units": 8, "learning_epochs": 2}
POPULATION |= {"mini_batches": 1}
REPLAY = {
    "hidden_sizes": (16, 16),
    "rollouts": T,
    "replay_size": 200,
    "batch_size": 16,
    "warmup_steps": 4,
    "updates_per_step": 4,
}


def agent_for(env, cfg):
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent


# -- DexPBT: the same decisions, whoever holds the learners ------------------------------------------------------------


class Ranked:
    """The environments of some learners, out of all. Random numbers are drawn for all, so each sees what it would."""

    def __init__(self, learners=range(M), seed=3, by_return=False):
        self.whole = PopulationEnv(M * B, seed=seed, groups=M, episode_length=3)
        self.mine = slice(learners.start * B, learners.stop * B)
        self.num_envs, self.taken = len(learners) * B, 0
        for name in ("device", "observation_space", "state_space", "action_space", "extras", "state"):
            setattr(self, name, getattr(self.whole, name))
        self.by_return = by_return
        if by_return:
            self.extras = {}
        self.reward_weights = {name: weight[self.mine] for name, weight in self.whole.reward_weights.items()}
        self.curriculum = Curriculum(self.whole.curriculum.ways, groups=len(learners))
        self.curriculum.values["tolerance"].copy_(torch.linspace(0.2, 0.8, M)[learners.start : learners.stop])

    @property
    def unwrapped(self):
        return self

    def reset(self):
        return self.whole.reset()[0][self.mine], {}

    def step(self, actions):
        self.taken += 1
        now = max(first for first in WORTH if first <= 1 + (self.taken - 1) // T)
        worth = torch.tensor(WORTH[now]).repeat_interleave(B)
        self.whole.objective = worth
        every = torch.zeros(M * B, 2)
        every[self.mine] = actions
        *columns, infos = self.whole.step(every)
        observations, rewards, *ends = (column[self.mine] for column in columns)
        if self.by_return:
            return observations, rewards + worth[self.mine].unsqueeze(1), *ends, {}
        return observations, rewards, *ends, {"true_objective": infos["true_objective"][self.mine]}

    def state_dict(self):
        return {"whole": self.whole.state_dict(), "taken": self.taken, "curriculum": self.curriculum.state_dict()}

    def load_state_dict(self, state):
        self.taken = state["taken"]
        self.curriculum.load_state_dict(state["curriculum"])
        return self.whole.load_state_dict(state["whole"])[self.mine]


def held(rank):
    return range(rank * M // SIZE, (rank + 1) * M // SIZE)


def population(env, learners, noise, weights=None):
    """Several updates with some of the learners; what they have learned, and what was decided."""
    agent = agent_for(env, DexPbtCfg(**POPULATION))
    start = copy.deepcopy(agent.state_dict())
    if weights is not None:
        agent.load_policy(weights)
    drawn = iter([noise[step, block * B : (block + 1) * B] for step in range(len(noise)) for block in learners])
    real, torch.randn_like = torch.randn_like, lambda _: next(drawn)
    try:
        run(agent, env, len(noise))
    finally:
        torch.randn_like = real
    learned = {block: learner.state_dict() for block, learner in agent.learners.items()}
    return start, agent.decisions, agent.metrics, learned, env.curriculum.values["tolerance"]


def population_part(rank, noise, weights, by_return):
    return population(Ranked(held(rank), by_return=by_return), held(rank), noise, weights)


@pytest.mark.parametrize("by_return", [False, True], ids=["true objective", "return"])
def test_a_population_decides_the_same_on_two_ranks_as_on_one(by_return, team):
    noise = torch.randn(8 * T, M * B, 2, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    weights, decisions, metrics, learned, tolerance = population(Ranked(by_return=by_return), range(M), noise)
    results = team.values(population_part, noise, weights, by_return)
    replaced = {(each["learner"], each["donor"]) for each in decisions if each["action"] == "replace"}
    ranks = {(target // 2, source // 2) for target, source in replaced}
    assert ranks == {(0, 1), (1, 0)}, replaced
    for _, theirs, numbers, _, _ in results:
        assert theirs == decisions and numbers == metrics
    for rank, (_, _, _, theirs, _) in enumerate(results):
        assert list(theirs) == list(held(rank))
        for block, state in theirs.items():
            assert_same_state(state, learned[block])
    assert torch.equal(torch.cat([result[4] for result in results]), tolerance)
    assert len(set(tolerance.tolist())) < M  # the curriculum moved with the weights


def too_many(rank):
    DexPbtCfg(num_blocks=5).check(20)


def test_learners_that_ranks_cannot_share_are_refused(team):
    for error, _ in team.run(too_many):
        assert isinstance(error, ValueError)
        assert "num_blocks is 5, which 2 ranks cannot share equally; use agent.num_blocks=4 or 6" in str(error)


# -- PQL: the same steps on the rows of all ranks ----------------------------------------------------------------------


def learn_from(rows, seen, weights, share):
    """Two steps' updates from given rows; every gradient, and the networks and moments at the end."""
    ranks = Ranks.current()
    agent = agent_for(ToyEnv(8), PqlCfg(**REPLAY, target_noise=0.0))
    if weights is not None:
        agent.load_policy(weights)
    start = copy.deepcopy(agent.state_dict())
    agent.scaler.update(seen[share], ranks)
    batches, gradients = itertools.cycle(rows), []
    agent.memory.sample = lambda *_: Transitions(*(column[share] for column in next(batches)))
    agent.memory.sample_observations = lambda *_: next(batches).observations[share]
    for optimizer in (agent.learner.critic_optimizer, agent.learner.actor_optimizer):
        optimizer.register_step_pre_hook(lambda each, *_: gradients.append(
            [parameter.grad.clone() for group in each.param_groups for parameter in group["params"]]
        ))  # fmt: skip
    for _ in range(2):
        agent.learner.learn()
    return start, gradients, agent.state_dict()["pql"], agent.learner.report()


def learn_part(rank, rows, seen, weights):
    return learn_from(rows, seen, weights, slice(rank * 8, rank * 8 + 8))


def test_pql_on_two_ranks_takes_the_steps_of_one_on_the_rows_of_both(team):
    torch.manual_seed(0)
    seen = 3.0 * torch.randn(16, 5) + 1.0
    sizes = ((16, 5), (16, 2), (16, 5), (16,), (16,))
    rows = [Transitions(*(torch.rand(size) for size in sizes)) for _ in range(5)]
    weights, gradients, networks, report = learn_from(rows, seen, None, slice(None))
    assert len(gradients) == 2 * (4 + 2)  # critic and actor updates of two steps
    for _, theirs, learned, numbers in team.values(learn_part, rows, seen, weights):
        for ours, other in ((gradients, theirs), (networks, learned)):
            for name, value in flatten(ours).items():
                torch.testing.assert_close(
                    flatten(other)[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
                )
        assert numbers == pytest.approx(report, rel=1e-5)
    for name, value in networks["actor"].items():
        assert (value - weights["pql"]["actor"][name]).abs().max() > 1e-3  # far more than the two may differ


def explore(rank):
    """What ranks do differently, and what they keep alike."""
    torch.manual_seed(rank)
    env = ToyEnv(6, seed=rank)
    agent = agent_for(env, PqlCfg(**REPLAY))
    run(agent, env, 8)
    return agent.state_dict()["pql"], agent.memory.rows[:6, 5:7].clone(), agent._noise


def test_ranks_of_pql_stay_alike_while_they_explore_on_their_own(team):
    (one, first, low), (other, second, high) = team.values(explore)
    assert_same_state(one, other)
    assert not torch.equal(first, second)  # uniform actions, of generators of their own
    torch.testing.assert_close(torch.cat((low, high), dim=1).flatten(), exploration(12, 0.05, 0.8).flatten())


# -- the training loop -------------------------------------------------------------------------------------------------


def train(rank, kind, folder, iterations, resume, seed):
    torch.manual_seed(seed + rank)
    if kind == "dexpbt":
        env, cfg = Ranked(held(rank), seed=seed + 10 * rank), DexPbtCfg(**POPULATION, seed=seed)
    else:
        env, cfg = ToyEnv(6, seed=seed + 10 * rank), PqlCfg(**REPLAY, save_replay=True, seed=seed)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    options = TrainerCfg(max_iterations=iterations, checkpoint_interval=3, dump_states=5)
    trainer = Trainer(env, build_agent(env, cfg), RunFolder(folder) if rank == 0 else None, options)
    if resume is not None:
        trainer.restore(checkpoint.load(resume))
    trainer.train()
    return trainer.state_dict()


@pytest.mark.parametrize("kind", ["dexpbt", "pql"])
def test_2n_iterations_equal_n_resume_and_n_bit_by_bit(kind, team, tmp_path):
    whole, parts = (RunFolder.create(tmp_path, name, {}, {}) for name in ("whole", "parts"))
    expected = team.values(train, kind, whole.path, 6, None, 0)
    team.values(train, kind, parts.path, 3, None, 0)
    middle = checkpoint.latest(parts)
    for before, after in zip(expected, team.values(train, kind, parts.path, 6, middle, 7)):
        assert_same_state(before, after)
    saved = checkpoint.load(checkpoint.latest(parts))
    (other,) = saved["other_ranks"]
    if kind == "pql":
        assert not torch.equal(saved["agent"]["replay"]["rows"], other["agent"]["replay"]["rows"])
        return
    assert saved["agent"]["decisions"]
    done = [each["agent"]["objectives"]["episodes"]["last"] for each in (saved, other)]
    assert not torch.equal(*done)
    # the file has all learners, for whoever plays one of them in one process; the sample of states likewise
    player = build_agent(Ranked(), DexPbtCfg(**POPULATION), with_memory=False)
    player.load_policy(saved["agent"])
    for block, learner in player.learners.items():
        assert_same_state(learner.policies.state_dict(), saved["agent"]["learners"][block]["policies"])
    assert player.leader == saved["blocks"]["leader"] == saved["agent"]["leader"]
    assert saved["blocks"]["num_blocks"] == M and len(other["visited"]["states"]) == M // SIZE


def moments(rank):
    scaler = RunningMoments(1)
    scaler.update(torch.full((2, 1), float(rank)), Ranks.current())
    return Ranks.current().hand_over({"mean": scaler.mean} if rank else None, 1, 0)


def test_a_state_is_handed_to_the_rank_that_wants_it(team):
    (taken, none) = team.values(moments)
    # one row of 0 at the start, then 0, 0, 1, 1
    assert taken["mean"].item() == pytest.approx(2 / 5) and none is None
