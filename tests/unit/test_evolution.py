"""EPO: who is replaced by the mean of whom, by which episodes, and what else a genetic step touches."""

import copy

import pytest
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.contract import Transition
from sapg_isaaclab.agents.objective import EpisodeObjectives
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg.evolution import choose, crossover, leader_slices, own_fitness
from sapg_isaaclab.agents.sapg.presets import EPO, EPO_RELEASED
from toy_env import ToyEnv, check_resume, run

T, M, N = 4, 4, 16
SMALL = {"num_blocks": M, "hidden_sizes": (16, 16), "rollouts": T, "sequence_length": 2, "latent_dim": 4}
EVERY_UPDATE = {"evolution_interval": T * N, "evolution_start": T * N}
RELEASED = {**EPO_RELEASED, **EVERY_UPDATE, "num_blocks": M}


def make(seed=0, num_envs=N, **options):
    torch.manual_seed(seed)
    env = ToyEnv(num_envs, seed=seed, episode_length=4)
    cfg = SapgCfg(**{**SMALL, **EVERY_UPDATE, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


def choice(fitness, known=None, **options):
    """A choice as plain numbers: who is replaced (None for nobody), and the parents."""
    fitness = torch.tensor(fitness, dtype=torch.float64)
    found = choose(fitness, torch.ones(len(fitness), dtype=torch.bool) if known is None else known, **options)
    replaced = found.replaced.nonzero().flatten().tolist()
    return replaced[0] if replaced else None, found.parents.tolist()


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_the_worst_takes_the_mean_of_the_two_best():
    """Fitness .2, .9, .5, .7: in order 1, 3, 2, 0, so phi_0 = ((0, 1) + (-1, 3)) / 2 = (-.5, 2)."""
    found = choose(torch.tensor([0.2, 0.9, 0.5, 0.7]), torch.ones(4, dtype=torch.bool))
    assert found.replaced.tolist() == [True, False, False, False] and found.parents.tolist() == [1, 3]
    assert found.fitness.tolist() == pytest.approx([0.2, 0.6, 0.9]) and found.known == 4
    latents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 3.0]])
    assert crossover(latents, found).tolist() == [[-0.5, 2.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 3.0]]
    assert crossover(latents, found, torch.tensor([1.0, -1.0]))[0].tolist() == [0.5, 1.0]


def test_the_leader_is_protected_but_may_be_a_parent():
    assert choice([0.2, 0.9, 0.5, 0.7], protected=0) == (2, [1, 3])
    assert choice([0.9, 0.2, 0.5, 0.7], protected=0) == (1, [0, 3])


def test_of_equals_the_lower_index_comes_first():
    """As in the released code, which counts from the other end and puts the higher index first."""
    assert choice([0.5, 0.5, 0.5, 0.5]) == (3, [0, 1])
    assert choice([0.5, 0.7, 0.7, 0.5]) == (3, [1, 2])


def test_elites_are_kept_and_parents_drawn_from_them():
    fitness = [0.1, 0.9, 0.5, 0.7, 0.3]
    assert choice(fitness, elites=3, ranks=(2, 0)) == (0, [2, 1])
    # with policy 0 protected and four elites, the worst that is left is an elite itself
    assert choice(fitness, elites=4, protected=0) == (None, [1, 3])


def test_the_trigger_compares_the_spread_with_the_median():
    """Spread .9 - .2 = .7, median (.5 + .7) / 2 = .6."""
    fitness = [0.2, 0.9, 0.5, 0.7]
    assert choice(fitness, trigger=1.16)[0] == 0 and choice(fitness, trigger=1.17)[0] is None
    assert choice([0.5] * 4, trigger=0.0)[0] is None and choice([0.5] * 4, trigger=None)[0] == 3
    negative = [-value for value in fitness]  # returns may be: its size counts
    assert choice(negative, trigger=1.16)[0] == 1 and choice(negative, trigger=1.17)[0] is None


def test_who_is_not_known_takes_no_part():
    known = torch.tensor([False, True, True, False, True])
    assert choice([-9.0, 0.9, 0.5, 7.0, 0.3], known) == (4, [1, 2])
    assert choice([-9.0, 0.9, 0.5, 7.0, 0.3], known & torch.tensor([True, True, True, True, False]))[0] is None
    assert choice([0.0] * 5, torch.zeros(5, dtype=torch.bool))[0] is None


def test_whose_environments_count():
    """M = 4, N = 48, every environment's number is its index: blocks have 5.5, 17.5, 29.5, 41.5.

    The released code, with the leader last, gives policies 0 to 3 the means 37, 40, 43, 46 of the leader's environments
    36 to 47. Here the leader is first: its environments 0 to 11, and policy 3 is the released code's policy 0.
    """
    index, layout = torch.arange(48.0), BlockLayout(48, 4)
    assert (own_fitness(index, layout) / 12).tolist() == [5.5, 17.5, 29.5, 41.5]
    assert (leader_slices(index + 36, layout) / 3).flip(0).tolist() == [37.0, 40.0, 43.0, 46.0]
    assert (leader_slices(torch.arange(15.0), BlockLayout(15, 3)) / 1).tolist() == [2.0, 1.0, 0.0]  # two are left over


# -- the episodes ------------------------------------------------------------------------------------------------------


def test_only_whole_episodes_since_the_last_change_count():
    objectives = EpisodeObjectives(3, "cpu")

    def step(rewards, done, **infos):
        objectives.step(torch.tensor(rewards), torch.tensor(done), **infos)

    step([1.0, 10.0, 100.0], [False, True, False])
    assert objectives.finished.tolist() == [False, True, False] and objectives.last.tolist() == [0.0, 10.0, 0.0]
    objectives.policy_changed(torch.tensor([True, True, False]))
    step([2.0, 20.0, 200.0], [True, True, True])  # the first two episodes began before the change
    assert objectives.finished.tolist() == [False, False, True] and objectives.last.tolist() == [0.0, 10.0, 300.0]
    step([4.0, 40.0, 400.0], [True, False, True], left_out=torch.tensor([False, False, True]))
    assert objectives.finished.tolist() == [True, False, True] and objectives.last.tolist() == [4.0, 10.0, 300.0]
    step([8.0, 80.0, 800.0], [True, True, False], true_objective=torch.tensor([0.5, 0.6, 0.7]))
    assert objectives.finished.all() and objectives.last.tolist() == pytest.approx([0.5, 0.6, 300.0])


class Indexed(ToyEnv):
    """Every environment's objective is its index."""

    def step(self, actions):
        *rest, infos = super().step(actions)
        return *rest, {**infos, "true_objective": torch.arange(float(self.num_envs))}


def test_episodes_of_broken_environments_and_shortened_ones_are_left_out():
    agent, env = make()
    nothing, ends = torch.zeros(N, 1, dtype=torch.bool), torch.ones(N, 1, dtype=torch.bool)
    broken, shortened = torch.arange(N) % 4 == 1, torch.arange(N) % 4 == 2
    rows = {"observations": env.reset()[0], "states": None, "actions": torch.zeros(N, 2), "rewards": torch.ones(N, 1)}
    after = {"next_observations": rows["observations"], "next_states": None, "terminated": nothing, "truncated": ends}
    agent.evolution.record(Transition(**rows, **after, infos={"broken": broken, "shortened": shortened}))
    assert agent.evolution.objectives.finished.equal(torch.arange(N) % 4 % 3 == 0)


def test_a_policy_is_judged_by_its_own_environments():
    torch.manual_seed(0)
    env = Indexed(N, episode_length=4)
    agent = build_agent(env, SapgCfg(**SMALL, **EVERY_UPDATE))
    agent.init()
    agent.enable_training_mode(True)
    run(agent, env, T)
    # blocks of four environments have 1.5, 5.5, 9.5, 13.5; the leader has the least and is protected
    (decision,) = agent.decisions
    assert (decision["replaced"], decision["parents"], decision["known"]) == (1, [3, 2], 4)
    assert decision["fitness"] == {"lowest": 1.5, "median": 7.5, "highest": 13.5}
    assert agent.metrics["Evolution/replaced"] == 1.0 and agent.metrics["Evolution/fitness_median"] == 7.5


# -- what a genetic step touches ---------------------------------------------------------------------------------------


def evolve(agent, fitness):
    """A genetic step by given fitness; everything that learns, before and after it, and who was replaced."""

    def learns():
        optimizer = agent.learner.optimizer.state
        moments = {name: optimizer[value] for name, value in agent.model.named_parameters() if value in optimizer}
        return copy.deepcopy((dict(agent.model.state_dict()), moments))

    agent.evolution.fitness = lambda: (torch.tensor(fitness, dtype=torch.float64), torch.ones(M, dtype=torch.bool))
    before = learns()
    numbers = agent.evolution.update()
    return before, learns(), int(numbers["replaced"])


@pytest.mark.parametrize("log_std", [True, False])
def test_the_row_and_its_moments_are_renewed_and_nothing_else(log_std):
    agent, env = make(evolution_start=10_000, evolution_log_std=log_std)
    run(agent, env, 2 * T)
    agent.evolution.env_steps = 10_000 - T * N
    with torch.no_grad():
        agent.model.log_std.copy_(torch.arange(8.0).square().view(4, 2) / 100)
    (before, moments), (after, moments_after), replaced = evolve(agent, [0.2, 0.9, 0.1, 0.7])
    assert replaced == 2
    tables = ["latents", "log_std"] if log_std else ["latents"]
    for name, value in before.items():
        expected = value.clone()
        if name in tables:
            expected[2] = (value[1] + value[3]) / 2
            assert not expected.equal(value)
        torch.testing.assert_close(after[name], expected, atol=0, rtol=0)
    for name, moment in moments.items():
        for key, value in moment.items():
            expected = value.clone()
            if name in tables and key != "step":
                assert value[2].abs().max() > 0.0
                expected[2] = 0.0
            assert moments_after[name][key].equal(expected), (name, key)


def test_the_leaders_row_is_never_written_by_evolution():
    agent, _ = make()
    leader, replaced = agent.model.latents[0].clone(), set()
    for step in range(20):
        fitness = torch.rand(M, generator=torch.Generator().manual_seed(step))
        fitness[0] = -1.0
        replaced.add(evolve(agent, fitness.tolist())[-1])
    assert replaced == {1, 2, 3}
    assert agent.model.latents[0].equal(leader)
    unprotected, _ = make(evolution_leader=True)
    evolve(unprotected, [0.1, 0.9, 0.5, 0.7])
    assert unprotected.model.latents[0].equal(unprotected.model.latents[[1, 3]].mean(dim=0))


def test_noise_is_added_to_the_latent_alone_and_is_the_same_for_the_same_seed():
    children = []
    for seed in (1, 1, 2):
        agent, _ = make(evolution_noise=0.5)
        agent.evolution.generator.manual_seed(seed)
        _, (after, _), _ = evolve(agent, [0.2, 0.9, 0.1, 0.7])
        children.append(after["latents"][2] - after["latents"][[1, 3]].mean(dim=0))
        assert after["log_std"].eq(0.0).all()
    assert children[0].equal(children[1]) and not children[0].equal(children[2])
    assert 0.05 < children[0].std() < 1.5


def test_steps_are_due_from_the_start_on_at_every_interval():
    agent, env = make(evolution_start=3 * T * N, evolution_interval=2 * T * N)
    run(agent, env, 9 * T)
    assert [decision["env_steps"] for decision in agent.decisions] == [T * N * update for update in (3, 5, 7, 9)]
    agent, env = make(evolution_start=T * N + 1, evolution_interval=T * N // 2)  # more often than there are updates
    run(agent, env, 4 * T)
    assert [decision["env_steps"] for decision in agent.decisions] == [T * N * update for update in (2, 3, 4)]


def test_after_a_genetic_step_every_policy_still_learns_from_what_it_did():
    """The step follows the update: in the next one, ratios of on-policy rows begin at 1 for the child, too."""
    kl = {}
    options = {"evolution_interval": 10_000, "evolution_start": 2 * T * N, "aggregation": "none"}
    options |= {"normalize_observations": False, "learning_rate": 1e-6, "learning_epochs": 1, "mini_batches": 1}
    for timing, updates in (("after_update", 3), ("before_update", 2)):
        agent, env = make(evolution_timing=timing, **options)
        with torch.no_grad():
            agent.model.latents.mul_(10.0)
        run(agent, env, updates * T)
        assert len(agent.decisions) == 1 and agent.decisions[0]["replaced"] is not None
        kl[timing] = agent.metrics["Policy/kl"]
    assert kl["after_update"] < 1e-4 and kl["before_update"] > 1e-3


# -- the released code -------------------------------------------------------------------------------------------------


def test_released_latents_leave_the_optimiser_with_the_first_step_and_stay_in_the_clipped_norm():
    agent, env = make(**{**RELEASED, "evolution_start": 3 * T * N})
    before = agent.model.latents.detach().clone()
    run(agent, env, 2 * T)
    learned = agent.model.latents.detach().clone()
    assert not learned.equal(before) and not agent.decisions
    run(agent, env, T)
    once = agent.model.latents.detach().clone()
    changed = [not row.equal(old) for row, old in zip(once, learned)]
    (decision,) = agent.decisions
    assert changed == [block == decision["replaced"] for block in range(M)]  # the update itself moved none of them
    total = torch.stack([value.grad.norm() for value in agent.model.parameters()]).norm()
    assert agent.model.latents.grad.norm() > 0.0 and total <= 1.0 + 1e-5  # clipped together


def test_released_fitness_is_the_best_of_the_interval_of_slices_of_the_leaders_environments():
    agent, _ = make(**{**RELEASED, "evolution_interval": 3 * T * N, "evolution_start": 3 * T * N})
    index, objectives = torch.arange(float(N)), agent.evolution.objectives
    assert agent.evolution.fitness()[1].tolist() == [False] * M
    objectives.finished[:4].fill_(True)  # the leader's four, one for each policy
    for last in (index + 10.0, index, index + 5.0):
        objectives.last.copy_(last)
        numbers = agent.evolution.update()
    assert [numbers[word].item() for word in ("lowest", "highest")] == [10.0, 13.0]
    # the leader's environments 0 to 3 belong to policies 3 to 0
    assert numbers["replaced"] == 3 and numbers["parent_1"] == 0
    assert agent.evolution.fitness()[1].all()  # it goes on to be known


# -- around it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"evolution_noise": 0.1, "evolution_elites": 3}, {"rnn_units": 8, "evolution_judges": "best"}, RELEASED],
    ids=["noise", "lstm", "released"],
)
def test_saved_and_loaded_it_goes_on_bit_for_bit(options):
    options = {**options, "evolution_interval": 2 * T * N}
    (agent, env), (other, other_env) = make(**options), make(seed=1, **options)
    check_resume((agent, env), (other, other_env), steps=6 * T)
    assert len(agent.decisions) == 6 and agent.decisions == other.decisions
    assert any(decision["replaced"] is not None for decision in agent.decisions[3:])
    ours, theirs = agent.state_dict(), other.state_dict()
    for name, value in ours["episode_objectives"].items():
        assert value.equal(theirs["episode_objectives"][name]), name
    assert ours["evolution"]["generator"].equal(theirs["evolution"]["generator"])


def test_without_evolution_nothing_is_kept_or_drawn():
    agent, env = make(evolution_interval=0, evolution_start=200_000_000)
    run(agent, env, T)
    assert agent.evolution is None and not agent.decisions
    state = agent.state_dict()
    assert state["evolution"] is None and state["episode_objectives"] is None
    assert not any(tag.startswith("Evolution/") for tag in agent.metrics)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"evolution_interval": 0, "evolution_start": 200_000_000, "evolution_noise": 0.1},
            "but nothing evolves; use --algorithm epo",
        ),
        ({"evolution_interval": -1}, "agent.evolution_interval is -1; it must be at least 0"),
        ({"evolution_elites": 1}, "agent.evolution_elites is 1; it must be at least 2"),
        ({"evolution_noise": -0.1}, "agent.evolution_noise is -0.1; it must not be negative"),
        ({"evolution_trigger": -1.0}, "agent.evolution_trigger is -1.0; it must not be negative"),
        ({"num_blocks": 2}, "agent.num_blocks is 2; evolution with 2 elites needs at least 3 policies"),
        ({"evolution_fitness": "leader_slices", "num_blocks": 8}, "use --num_envs 64 or more, or fewer policies"),
        ({"evolution_fitness": "all"}, "must be one of own, leader_slices"),
    ],
)
def test_wrong_options_are_answered_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)


def test_presets_are_the_published_settings_on_the_papers_number_of_environments():
    for preset in (EPO, EPO_RELEASED):
        layout = SapgCfg(**preset).check(24_576)
        assert (layout.num_blocks, layout.block_size) == (64, 384)
    coefs = layout.entropy_coefs(0.005, "official")
    # 0.5 * 0.005 * (1 - b / 63) of the released code's policies b = 0, 1, ..., 62, 63: here in the other order
    assert coefs.flip(0)[[0, 1, 62, 63]].tolist() == pytest.approx([0.0025, 0.0024603, 0.0000397, 0.0], abs=5e-8)
