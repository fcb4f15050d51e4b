"""The population as a whole, on a task without a simulator."""

import copy
import json

import pytest
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt.objective import Objectives
from sapg_isaaclab.agents.dexpbt.selection import Verdict
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import run
from toy_population import PopulationEnv, RankedByReward, make_population

torch.set_num_threads(1)


def leaves(value, prefix=""):
    """Leaves of nested dictionaries and lists by path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    if items is None:
        return {prefix: value}
    return {path: leaf for key, item in items for path, leaf in leaves(item, f"{prefix}/{key}").items()}


def differences(first, second) -> list[str]:
    """Paths of the leaves that differ."""
    first, second = leaves(first), leaves(second)
    return [key for key in first.keys() | second.keys() if not _equal(first.get(key), second.get(key))]


def _equal(a, b) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


def weights_and_optimiser(learner) -> dict:
    return copy.deepcopy({"policies": learner.policies.state_dict(), "learner": learner.learner.state_dict()})


def compare(agent, objectives, best=None) -> None:
    """The end of an interval with the given objectives."""
    agent.objectives.now, agent.objectives.best = list(objectives), list(best or objectives)
    agent.compare()


def test_each_learner_sees_its_own_rows_only():
    class Marked(PopulationEnv):
        def _observe(self):
            observations = super()._observe()
            observations[:, 0] = torch.arange(self.num_envs)
            return observations

        def step(self, actions):
            observations, _, terminated, truncated, infos = super().step(actions)
            rewards = torch.arange(self.num_envs).float().unsqueeze(1)
            infos["final_obs"] = {"policy": 1.0 + rewards.expand(-1, 5)}
            return observations, rewards, terminated, truncated, infos

    agent, env = make_population(Marked, rewards_scale=1.0, timeout_bootstrap="final_obs", normalize_observations=False)
    for learner in agent.learners.values():
        learner.update = lambda **_: None
        learner.metrics = {tag: 0.0 for tag in ("Loss/x", "Policy/learning_rate", "Block_0/std", "Block_0/entropy")}
    sent = []
    step = env.step
    env.step = lambda actions: (sent.append(actions), step(actions))[1]
    run(agent, env, 4)
    for block, learner in agent.learners.items():
        envs = torch.arange(4 * block, 4 * block + 4.0)
        rollout = learner.memory.rollout
        assert rollout.batch_size == (4, 4)
        assert torch.equal(rollout["observations"][..., 0], envs.expand(4, 4))
        assert torch.equal(rollout["rewards"].squeeze(-1), envs.expand(4, 4))
        assert torch.equal(rollout["actions"], torch.stack(sent)[:, 4 * block : 4 * block + 4])
        # the value of the true last observation, by the learner's own critic
        steps, rows = rollout["truncated"].squeeze(-1).nonzero(as_tuple=True)
        last = learner.policies.network_rows(1.0 + envs[rows].unsqueeze(1).expand(-1, 5), None)
        values = learner.policies.evaluate(last, 0).values
        assert len(steps) >= 4 and values.abs().min() > 1e-3
        torch.testing.assert_close(rollout["final_values"][steps, rows].squeeze(-1), values)


def test_learners_differ_and_act_in_their_blocks():
    agent, _ = make_population(num_envs=6)
    observations = torch.ones(6, 5)
    _, extras = agent.act(observations, None, timestep=0, timesteps=0)
    means = extras["mean_actions"]
    close = torch.testing.assert_close
    assert (means[0] - means[2]).abs().min() > 1e-3 and (means[2] - means[4]).abs().min() > 1e-3
    for block in range(3):
        close(agent.player(block)(observations)[:2], means[2 * block : 2 * block + 2])
    with pytest.raises(ValueError, match="block 3 does not exist"):
        agent.player(3)
    agent.objectives.now = [1.0, None, 2.0]
    agent._leader = 2
    close(agent.player()(observations)[:2], means[4:])
    agent.enable_training_mode(False)
    _, extras = agent.act(torch.ones(2, 5), None, timestep=0, timesteps=0)
    close(extras["mean_actions"], means[4:])
    assert agent.sizes() == {"environments": "6 = 3 learners x 2", "batch": "3 learners x 8 rows in 2 minibatches"}


def test_a_learner_in_a_population_does_what_a_lone_one_does():
    agent, env = make_population(mutation_rate=0.0, interval=10**9)
    lone = make_population(mutation_rate=0.0, seed=1)[0].learners[0]
    lone.load_state_dict(copy.deepcopy(agent.learners[1].state_dict()))
    rows = slice(4, 8)
    observations, clock = env.reset()[0], {"timestep": 0, "timesteps": 0}
    for _ in range(12):
        actions, _ = agent.act(observations, None, **clock)
        lone.act(observations[rows], None, **clock)
        # a lone learner would have drawn other noise
        lone._acted = agent.learners[1]._acted
        after, rewards, terminated, truncated, infos = env.step(actions)
        step = {
            "observations": observations, "actions": actions, "rewards": rewards, "next_observations": after,
            "terminated": terminated, "truncated": truncated,
        }  # fmt: skip
        agent.record_transition(**step, states=None, next_states=None, infos=infos, **clock)
        own = {name: value[rows] for name, value in step.items()}
        lone.record_transition(**own, states=None, next_states=None, infos={}, **clock)
        agent.post_interaction(**clock)
        lone.post_interaction(**clock)
        observations = after
    assert differences(lone.learner.state_dict(), agent.learners[1].learner.state_dict()) == []
    assert differences(lone.policies.state_dict(), agent.learners[1].policies.state_dict()) == []
    assert lone.metrics["Policy/learning_rate"] == agent.metrics["Block_1/learning_rate"]
    expected = sum(learner.metrics["Loss/value"] for learner in agent.learners.values()) / 3
    assert agent.metrics["Loss/value"] == pytest.approx(expected)


def test_a_fresh_run_begins_with_a_mutation_of_every_learner():
    agent, _ = make_population()
    count = 0
    for _ in range(40):
        agent.decisions.clear()
        agent.init()
        assert [decision["action"] for decision in agent.decisions] == ["initial"] * 3
        count += sum(len(decision["changed"]) for decision in agent.decisions)
    agent.init()  # skrl's trainers call it again
    assert len(agent.decisions) == 3
    # 40 x 3 learners x (7 options + 2 weights) at 0.15; four standard errors are 0.043
    assert count / (40 * 27) == pytest.approx(0.15, abs=0.045)


def test_hyperparameters_reach_their_learner_and_its_environments_alone():
    agent, env = make_population(mutation_rate=0.0)
    agent.cfg.mutation_rate = 1.0
    agent.population.mutate(1, agent.population.hyperparameters[1], Verdict("mutate", "because"))
    agent.settings.write(1, agent.population.hyperparameters[1])
    changed = agent.decisions[-1]["changed"]
    assert changed.keys() == agent.population.hyperparameters[1].keys() and len(changed) == 9
    assert agent.learners[1].cfg.ratio_clip == agent.population.hyperparameters[1]["agent.ratio_clip"] != 0.2
    assert agent.learners[1].cfg.learning_epochs in (4, 6)
    for other in (0, 2):
        assert agent.learners[other].cfg.ratio_clip == agent.cfg.ratio_clip == 0.2
        assert agent.population.hyperparameters[other]["agent.ratio_clip"] == 0.2
    factor = env.reward_weights["distance"]
    assert torch.equal(factor[:4], torch.ones(4)) and torch.equal(factor[8:], torch.ones(4))
    assert factor[4:8].tolist() == pytest.approx([agent.population.hyperparameters[1]["reward.distance"]] * 4)
    assert changed["reward.alive"] == [-0.5, agent.population.hyperparameters[1]["reward.alive"]]
    # and the reward with it: two environments in the same state, in blocks 0 and 1
    env.reset()
    env.position[4], env.goal[4], env.age[:] = env.position[0], env.goal[0], 0
    _, rewards, *_ = env.step(torch.zeros(12, 2))
    distance, alive = (agent.population.hyperparameters[1][f"reward.{name}"] for name in ("distance", "alive"))
    assert rewards[4].item() == pytest.approx((rewards[0].item() + 0.5) * distance + alive, rel=1e-5)


def test_a_replacement_takes_over_everything_and_leaves_the_donor_alone():
    agent, env = make_population(mutation_rate=0.0, interval=10**9, rnn_units=8)
    env.curriculum.values["tolerance"].copy_(torch.tensor([0.3, 0.5, 0.7]))
    observations = run(agent, env, 8)
    donor, target = agent.learners[0], agent.learners[2]
    before, other = weights_and_optimiser(donor), weights_and_optimiser(agent.learners[1])
    assert differences(before["policies"]["model"], target.policies.state_dict()["model"])
    donor.cfg.ratio_clip = agent.population.hyperparameters[0]["agent.ratio_clip"] = 0.123
    agent.population.frames = 77
    compare(agent, [5.0, 3.0, 0.0])
    decision = agent.decisions[-1]
    assert decision["action"] == "replace" and (decision["learner"], decision["donor"]) == (2, 0)
    assert differences(weights_and_optimiser(target), before) == differences(weights_and_optimiser(donor), before) == []
    assert differences(weights_and_optimiser(agent.learners[1]), other) == []
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.3, 0.5, 0.3])
    # recurrent states of the target alone are forgotten, and so is its objective
    assert target._state is None and donor._state is not None
    assert agent.objectives.now == [5.0, 3.0, None]
    assert agent.population.changed_at == [0, 0, 77] and agent.population.frames == 77
    # nothing is shared: the target's next updates are its own
    for learner in (donor, agent.learners[1]):
        learner.update = lambda **_: None
    run(agent, env, 4, observations)
    assert differences(weights_and_optimiser(donor), before) == []
    assert differences(weights_and_optimiser(target)["policies"]["model"], before["policies"]["model"])


def test_a_learner_that_mutates_keeps_weights_and_curriculum():
    agent, env = make_population(mutation_rate=0.0, interval=10**9)
    env.curriculum.values["tolerance"].copy_(torch.tensor([0.3, 0.5, 0.7]))
    run(agent, env, 4)
    before = weights_and_optimiser(agent.learners[2])
    agent.population.hyperparameters[1]["agent.ratio_clip"] = 0.11
    bases = set()
    for _ in range(20):
        agent.population.hyperparameters[2]["agent.ratio_clip"] = 0.22
        # 0.01 behind the best, whose share is 0.05
        compare(agent, [0.995, 1.0, 0.99])
        assert agent.decisions[-1]["action"] == "mutate" and agent.decisions[-1]["donor"] == 1
        bases.add(agent.learners[2].cfg.ratio_clip)
    assert bases == {0.11, 0.22}
    assert differences(weights_and_optimiser(agent.learners[2]), before) == []
    assert env.curriculum.values["tolerance"].tolist() == pytest.approx([0.3, 0.5, 0.7])


def test_comparisons_come_with_every_interval_and_are_told_apart():
    # 16 steps of a learner an iteration, so every 32 is every second one; changes count after 96
    agent, env = make_population(initial_delay=96, mutation_rate=0.0)
    assert [decision["action"] for decision in agent.decisions] == ["initial"] * 3
    env.objective = torch.tensor([1.0, 5.0, 9.0]).repeat_interleave(4)
    seen, observations = [], env.reset()[0]
    for iteration in range(1, 8):
        observations = run(agent, env, 4, observations)
        new = agent.decisions[3 + len(seen) :]
        seen += [(iteration, decision["learner"], decision["action"]) for decision in new]
        json.dumps(new)
        assert agent.population.frames == 16 * iteration
    keep = [(iteration, learner, "keep") for iteration in (2, 4) for learner in range(3)]
    assert seen == [*keep, (6, 0, "replace"), (6, 1, "keep"), (6, 2, "keep")]
    assert len(agent.decisions) == 3 + 9
    assert agent.decisions[-3]["objective"] == 1.0 and agent.decisions[-3]["frames"] == 96
    assert agent.leader == 2
    metrics = agent.metrics
    assert metrics["Population/best_objective"] == metrics["Population/objective_2"] == 9.0
    assert (metrics["Population/leader"], metrics["Population/replacements"]) == (2.0, 1.0)
    assert metrics["Population/mutations"] == 1.0


def test_a_learner_that_changed_is_left_alone_for_a_while():
    agent, env = make_population(start_after=64, mutation_rate=0.0)
    env.objective = torch.tensor([1.0, 5.0, 9.0]).repeat_interleave(4)
    run(agent, env, 4 * 12)
    # allowed after 64 steps of a learner, and then 64 after the change
    changes = [decision["frames"] for decision in agent.decisions if decision["action"] == "replace"]
    assert changes == [64, 128, 192]


def objectives(envs=4, learners=2, steps=3):
    return Objectives(BlockLayout(envs, learners), steps, "cpu")


def test_the_objective_is_that_of_the_last_finished_episodes():
    o = objectives()
    bit = torch.tensor
    o.step(0, torch.zeros(4), bit([True, False, False, False]), bit([1.0, 50.0, 50.0, 50.0]))
    o.step(1, torch.zeros(4), bit([False, True, True, False]), bit([60.0, 2.0, 3.0, 60.0]))
    o.finish_iteration()
    # the fourth environment has finished nothing yet
    assert o.now == [1.5, None] and o.best == [1.5, None]
    o.step(0, torch.zeros(4), bit([True, False, False, True]), bit([0.0, 70.0, 70.0, 4.0]))
    o.finish_iteration()
    assert o.now == [1.0, 3.5] and o.best == [1.5, 3.5]
    o.end_interval()
    o.restart(1)
    o.finish_iteration()
    assert o.now == [1.0, None] and o.best == [1.0, None]


def test_without_a_true_objective_it_is_the_mean_return():
    o = objectives(learners=2)
    rewards = torch.tensor([1.0, 2.0, 3.0, 4.0])
    done = [[False, True, False, False], [True, False, False, True], [False, False, True, False]]
    for index, row in enumerate(done):
        o.step(index, rewards, torch.tensor(row), None)
    o.finish_iteration()
    # environment 0 in 2 steps, 1 in 1; 2 in 3 steps, 3 in 2
    assert o.now == [(2.0 + 2.0) / 2, (9.0 + 8.0) / 2]
    resumed = objectives(learners=2)
    resumed.load_state_dict(o.state_dict())
    for each in (o, resumed):
        for index in range(3):
            each.step(index, rewards, torch.tensor([False, True, False, False]), None)
        each.finish_iteration()
        # 2, 2 and then 2 + 2 + 2 (of the episode under way), 2, 2
        assert each.now == [(2.0 + 2.0 + 6.0 + 2.0 + 2.0) / 5, 8.5]


def test_only_the_newest_episodes_count():
    o = objectives(envs=2, learners=1, steps=2000)
    for index in range(2000):
        o.step(index, torch.full((2,), 1.0 if index < 500 else 2.0), torch.ones(2, dtype=torch.bool), None)
    o.finish_iteration()
    # 4000 episodes, of which the 1000 first were worth less
    assert o.now == [2.0]


def test_ranked_by_rewards_the_rewards_do_not_mutate():
    agent, env = make_population(RankedByReward, interval=10**9)
    assert agent.settings.reward_weights == {}
    assert agent.population.hyperparameters[0].keys() == {f"agent.{name}" for name in agent.cfg.mutated}
    run(agent, env, 8)
    assert None not in agent.objectives.now and agent.objectives.now[0] < 0.0
    with pytest.raises(ValueError, match="'distance'; it must be empty, for this environment offers none"):
        make_population(RankedByReward, mutated_rewards=("distance",))


def test_chosen_weights_of_the_reward():
    agent, _ = make_population(mutated_rewards=("alive",), mutated=("ratio_clip",))
    assert agent.population.hyperparameters[0].keys() == {"agent.ratio_clip", "reward.alive"}
    with pytest.raises(ValueError, match="agent.mutated_rewards has 'drop'; it must be one of distance, alive"):
        make_population(mutated_rewards=("drop",))


def test_the_curriculum_must_fit():
    class OneTolerance(PopulationEnv):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, groups=None, **kwargs)

    class TwoGroups(PopulationEnv):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, groups=2, **kwargs)

    agent, _ = make_population(OneTolerance)
    assert agent.curriculum is None
    with pytest.raises(ValueError, match="has 2 groups, the population 3 learners; add env.num_blocks=3"):
        make_population(TwoGroups)


class Ranked(PopulationEnv):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.objective = torch.tensor([1.0, 5.0, 9.0]).repeat_interleave(4)


class RankedByPenalty(RankedByReward):
    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, rewards - torch.tensor([9.0, 5.0, 1.0]).repeat_interleave(4).unsqueeze(1), *rest


def make_trainer(path, max_iterations, seed=0, env_class=Ranked, run_folder=None, **options):
    agent, env = make_population(env_class, seed=seed, **options)
    agent.enable_training_mode(False)
    run_folder = run_folder or RunFolder.create(path, "toy", {"task": "Toy"}, {"env": "{}\n", "agent": "{}\n"})
    cfg = TrainerCfg(max_iterations=max_iterations, checkpoint_interval=4)
    return Trainer(env, agent, run_folder, cfg, {"task": "Toy"})


@pytest.mark.parametrize(
    ("env_class", "options"),
    [(Ranked, {}), (RankedByPenalty, {}), (Ranked, {"rnn_units": 8, "shuffle": True})],
)
def test_a_resume_in_the_middle_of_an_interval_is_exact(tmp_path, env_class, options):
    # compared after 48, 80 and 128 steps of a learner and resumed after 64; the learner that changed first is left
    # alone the second time
    options = {**options, "interval": 40, "start_after": 40, "threshold_absolute": 0.0, "mutation_rate": 0.5}
    whole = make_trainer(tmp_path / "whole", 8, env_class=env_class, **options)
    whole.train()
    first = make_trainer(tmp_path / "parts", 4, env_class=env_class, **options)
    first.train()
    torch.manual_seed(999)  # nothing of the first process is left
    second = make_trainer(tmp_path / "parts", 8, seed=7, env_class=env_class, run_folder=first.run, **options)
    second.restore(checkpoint.load(checkpoint.latest(first.run)))
    second.train()
    actions = [decision["action"] for decision in whole.agent.decisions]
    assert actions == ["initial"] * 3 + ["replace", "keep", "keep"] + ["keep"] * 3 + ["replace", "keep", "keep"]
    assert differences(whole.state_dict(), second.state_dict()) == ["/wall_time_s"]
    for trainer in (whole, second):
        lines = (trainer.run.path / "decisions.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == trainer.agent.decisions
    if env_class is Ranked:
        assert differences(whole.env.reward_weights, second.env.reward_weights) == []


def test_a_checkpoint_of_something_else_is_refused():
    agent, _ = make_population()
    with pytest.raises(ValueError, match="the checkpoint is not of a population"):
        agent.load_policy(agent.learners[0].state_dict())
    other, _ = make_population(RankedByReward, num_blocks=4)
    with pytest.raises(ValueError, match="holds 4 learners, this agent 3; add agent.num_blocks=4"):
        agent.load_state_dict(other.state_dict())


def test_policies_go_to_an_agent_that_only_acts():
    agent, env = make_population()
    env.objective = torch.tensor([1.0, 9.0, 5.0]).repeat_interleave(4)
    run(agent, env, 8)
    player = build_agent(env, agent.cfg, with_memory=False)
    player.init()
    assert player.decisions == []
    player.load_policy(agent.state_dict())
    observations = torch.randn(5, 5)
    assert player.leader == 1
    assert torch.equal(player.player()(observations), agent.player(1)(observations))
